// Package doctor looks at a system from where its configuration is, running or
// not, and says what is wrong and which command mends it. It changes nothing.
//
//	configuration ─▶ Doctor.Run ─▶ checks, side by side ─▶ Report: findings, green to red
//	                 database, bus: read-only, by the credentials of the configuration
//	                 admin listener: health and metrics of the process that is asked
//
// Each [Check] has a time limit of its own; what stands on something that cannot
// be reached is skipped and names that, so that one cause is one red finding. No
// finding holds a secret.
package doctor
