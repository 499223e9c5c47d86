module github.com/usher-auth/usher/deploy/check

go 1.26.0

require github.com/rogpeppe/go-internal v1.16.0
