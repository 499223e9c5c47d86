module github.com/usher-auth/usher/deploy/check

go 1.26.8

require (
	github.com/rogpeppe/go-internal v1.16.0
	github.com/yuin/goldmark v1.8.7
	mvdan.cc/sh/v3 v3.14.1
)
