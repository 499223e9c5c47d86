// Package system runs the services of deploy/compose.yaml as processes of this
// machine, with their own commands, environments, configurations, credentials and
// certificates: where no container engine is, that is as near as one gets.
//
// They run in namespaces of their own for the network and for /etc/hosts, so that
// names and ports are those of the file. That needs root, on Linux.
package system
