module github.com/usher-auth/usher/cmd/e2e/sdk

go 1.26.0

require github.com/ory/client-go v1.22.92

require golang.org/x/oauth2 v0.37.0 // indirect
