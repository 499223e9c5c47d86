package alerts

import (
	"slices"
	"time"
)

// example is when an alert fires, what with, and when it does not.
type example struct {
	// at is when it is looked at; 0 is after ten minutes.
	at time.Duration
	// fires are series with which it does, quiet others with which it does not.
	fires, quiet []string
	// labels are those of what fires, beside severity and alertname; says is a part of
	// its description.
	labels map[string]string
	says   string
}

// Series of requests, up to their values.
const (
	answers = `usher_http_request_duration_seconds_count{route="/self-service/registration",method="POST",status=`
	submits = `usher_http_request_duration_seconds_`
	post    = `{route="/self-service/login",method="POST",status="200"`
)

// disk is one of 100 bytes with what is free of it.
func disk(job, place, free string) []string {
	labels := `{job="` + job + `",instance="n1",mountpoint="` + place + `"} `
	return []string{"node_filesystem_avail_bytes" + labels + free, "node_filesystem_size_bytes" + labels + "100x500"}
}

var examples = map[string]example{
	"UsherErrorBudgetFast": {
		at:    70 * time.Minute,
		fires: []string{answers + `"200"} 0+98x100`, answers + `"503"} 0+2x100`},
		quiet: []string{answers + `"200"} 0+99x100`, answers + `"503"} 0+1x100`, `usher_http_request_duration_seconds_count{route="/admin/events",method="GET",status="500"} 0+50x100`},
		says:  "2% of the answers",
	},
	"UsherErrorBudgetSlow": {
		at:    400 * time.Minute,
		fires: []string{answers + `"200"} 0+99x500`, answers + `"500"} 0+1x500`},
		quiet: []string{answers + `"200"} 0+1000x500`, answers + `"500"} 0+5x500`},
		says:  "1% of the answers",
	},
	"UsherSlowFast": {
		at:    70 * time.Minute,
		fires: []string{submits + `count` + post + `} 0+100x100`, submits + `bucket` + post + `,le="1"} 0+80x100`},
		quiet: []string{submits + `count` + post + `} 0+100x100`, submits + `bucket` + post + `,le="1"} 0+90x100`},
		says:  "20% of the registrations",
	},
	"UsherSlow": {
		at:    400 * time.Minute,
		fires: []string{submits + `count` + post + `} 0+100x500`, submits + `bucket` + post + `,le="1"} 0+93x500`},
		quiet: []string{submits + `count` + post + `} 0+100x500`, submits + `bucket` + post + `,le="1"} 0+95x500`},
		says:  "7% of the registrations",
	},
	"UsherSubmitsFail": {
		fires:  []string{`usher_logins_total{method="password",outcome="ok"} 0+90x20`, `usher_logins_total{method="password",outcome="busy"} 0+10x20`},
		quiet:  []string{`usher_logins_total{method="password",outcome="ok"} 0+90x20`, `usher_logins_total{method="password",outcome="credentials"} 0+90x20`},
		labels: map[string]string{"method": "password"},
		says:   "10% of them",
	},
	"UsherSessionsMissing": {
		fires: []string{`usher_registrations_total{method="password",outcome="ok"} 0+95x20`, `usher_registrations_total{method="password",outcome="no_session"} 0+5x20`},
		quiet: []string{`usher_registrations_total{method="password",outcome="ok"} 0+95x20`, `usher_registrations_total{method="password",outcome="invalid"} 0+50x20`},
		says:  "5% of those",
	},
	"UsherSessionHopSlow": {
		at: 20 * time.Minute,
		fires: []string{
			`usher_registration_step_duration_seconds_bucket{step="hop",le="0.25"} 0+90x30`, `usher_registration_step_duration_seconds_bucket{step="hop",le="0.5"} 0+100x30`,
			`usher_registration_step_duration_seconds_bucket{step="hop",le="+Inf"} 0+100x30`,
		},
		quiet: []string{`usher_registration_step_duration_seconds_bucket{step="hop",le="0.1"} 0+100x30`, `usher_registration_step_duration_seconds_bucket{step="hop",le="+Inf"} 0+100x30`},
		says:  "475ms",
	},
	"UsherPartGone": {
		fires:  []string{`up{job="usher",part="api",instance="a"} 1x20`, `up{job="usher",part="hooks",instance="h"} 1x20`, `up{job="usher",part="session",instance="s"} 1 1 0x20`},
		quiet:  []string{`up{job="usher",part="api",instance="a"} 1x20`, `up{job="usher",part="hooks",instance="h"} 1x20`, `up{job="usher",part="session",instance="s"} 1x20`, `up{job="usher",part="session",instance="s2"} 0x20`},
		labels: map[string]string{"part": "session"},
		says:   "no target of session",
	},
	"UsherProcessDown": {
		fires:  []string{`up{job="usher",part="api",instance="a"} 0x20`},
		quiet:  []string{`up{job="usher",part="api",instance="a"} 0 1x20`, `up{job="other",instance="o"} 0x20`},
		labels: map[string]string{"job": "usher", "part": "api", "instance": "a"},
		says:   "part api",
	},
	"UsherRestarts": {
		fires:  []string{`process_start_time_seconds{job="usher",instance="a"} 0+60x3 300x20`},
		quiet:  []string{`process_start_time_seconds{job="usher",instance="a"} 0x5 300x20`},
		labels: map[string]string{"job": "usher", "instance": "a"},
		says:   "4 times",
	},
	"UsherVersionsMixed": {
		at:    130 * time.Minute,
		fires: []string{`usher_build_info{version="1",instance="a"} 1x200`, `usher_build_info{version="2",instance="b"} 1x200`},
		quiet: []string{`usher_build_info{version="1",instance="a"} 1x60 _x140`, `usher_build_info{version="2",instance="a"} _x60 1x140`, `usher_build_info{version="2",instance="b"} 1x200`},
		says:  "2 versions",
	},
	"UsherFilesRunOut": {
		fires:  []string{`process_open_fds{job="usher",instance="a"} 900x20`, `process_max_fds{job="usher",instance="a"} 1000x20`},
		quiet:  []string{`process_open_fds{job="usher",instance="a"} 700x20`, `process_max_fds{job="usher",instance="a"} 1000x20`},
		labels: map[string]string{"job": "usher", "instance": "a"},
		says:   "90%",
	},
	"UsherHashQueueLong": {
		fires:  []string{`usher_hash_queue_depth{instance="a"} 12x20`},
		quiet:  []string{`usher_hash_queue_depth{instance="a"} 12x2 0x20`},
		labels: map[string]string{"instance": "a"},
		says:   "12 wait",
	},
	"UsherMetricsIncomplete": {
		fires:  []string{`promhttp_metric_handler_errors_total{job="usher",instance="a",cause="gathering"} 0+4x20`},
		quiet:  []string{`promhttp_metric_handler_errors_total{job="usher",instance="a",cause="gathering"} 0x20`},
		labels: map[string]string{"job": "usher", "instance": "a", "cause": "gathering"},
		says:   "40 scrapes",
	},
	"UsherConfigRefused": {
		fires:  []string{`usher_config_reload_success{instance="a"} 0x20`},
		quiet:  []string{`usher_config_reload_success{instance="a"} 1x20`},
		labels: map[string]string{"instance": "a"},
		says:   "a goes by the former one",
	},
	"UsherSettingsRefused": {
		fires:  []string{`usher_settings_refused{instance="a"} 1x20`},
		quiet:  []string{`usher_settings_refused{instance="a"} 0x20`},
		labels: map[string]string{"instance": "a"},
		says:   "a goes by",
	},
	"UsherCertificateExpiresSoon": {
		at:     70 * time.Minute,
		fires:  []string{`usher_tls_certificate_expiry_timestamp_seconds{listener="public",instance="a"} 432000x100`},
		quiet:  []string{`usher_tls_certificate_expiry_timestamp_seconds{listener="public",instance="a"} 4320000x100`},
		labels: map[string]string{"listener": "public", "instance": "a"},
		says:   "4d 22h",
	},
	"UsherCertificateExpires": {
		fires:  []string{`usher_tls_certificate_expiry_timestamp_seconds{listener="public",instance="a"} 86400x20`},
		quiet:  []string{`usher_tls_certificate_expiry_timestamp_seconds{listener="public",instance="a"} 432000x20`},
		labels: map[string]string{"listener": "public", "instance": "a"},
		says:   "23h 50m",
	},
	"UsherBusCertificateExpiresSoon": {
		at:     70 * time.Minute,
		fires:  []string{`usher_bus_certificate_expiry_timestamp_seconds{certificate="server",instance="a"} 432000x100`, `usher_bus_certificate_expiry_timestamp_seconds{certificate="ca",instance="a"} 4320000x100`},
		quiet:  []string{`usher_bus_certificate_expiry_timestamp_seconds{certificate="server",instance="a"} 4320000x100`},
		labels: map[string]string{"certificate": "server", "instance": "a"},
		says:   "4d 22h",
	},
	"UsherBusCertificateExpires": {
		fires:  []string{`usher_bus_certificate_expiry_timestamp_seconds{certificate="client",instance="a"} 86400x20`},
		quiet:  []string{`usher_bus_certificate_expiry_timestamp_seconds{certificate="client",instance="a"} 432000x20`},
		labels: map[string]string{"certificate": "client", "instance": "a"},
		says:   "23h 50m",
	},
	"UsherBusCredentialExpires": {
		fires:  []string{`usher_bus_credential_expiry_timestamp_seconds{user="hooks",instance="a"} 432000x20`, `usher_bus_credential_expiry_timestamp_seconds{user="delivery",instance="a"} 4320000x20`},
		quiet:  []string{`usher_bus_credential_expiry_timestamp_seconds{user="hooks",instance="a"} 864000x20`},
		labels: map[string]string{"user": "hooks", "instance": "a"},
		says:   "4d 23h",
	},
	"UsherStreamFills": {
		fires: []string{`usher_stream_bytes{instance="a"} 85x20`, `usher_stream_max_bytes{instance="a"} 100x20`, `usher_stream_bytes{instance="b"} 85x20`, `usher_stream_max_bytes{instance="b"} 100x20`},
		quiet: []string{`usher_stream_bytes{instance="a"} 75x20`, `usher_stream_max_bytes{instance="a"} 100x20`, `usher_stream_bytes{instance="b"} 85x20`},
		says:  "85% of bus.max_bytes",
	},
	"UsherBusStoreFills": {
		fires:  []string{`gnatsd_varz_jetstream_stats_storage{job="nats",instance="n1"} 90x20`, `gnatsd_varz_jetstream_config_max_storage{job="nats",instance="n1"} 100x20`, `usher_bus_store_bytes{instance="a"} 5x20`, `usher_bus_store_max_bytes{instance="a"} 100x20`},
		quiet:  []string{`gnatsd_varz_jetstream_stats_storage{job="nats",instance="n1"} 70x20`, `gnatsd_varz_jetstream_config_max_storage{job="nats",instance="n1"} 100x20`, `usher_bus_store_bytes{instance="a"} 70x20`, `usher_bus_store_max_bytes{instance="a"} 100x20`},
		labels: map[string]string{"instance": "n1"},
		says:   "n1 have 90%",
	},
	"UsherOutboxOld": {
		fires: []string{`usher_outbox_oldest_seconds{instance="a"} 120x20`},
		quiet: []string{`usher_outbox_oldest_seconds{instance="a"} 120 0x20`},
		says:  "2m 0s",
	},
	"UsherOutboxDeep": {
		fires: []string{`usher_outbox_depth{instance="a"} 20000x20`},
		quiet: []string{`usher_outbox_depth{instance="a"} 9000x20`},
		says:  "20000 events",
	},
	"UsherNoRelayLeader": {
		fires: []string{`usher_relay_leading{instance="a"} 0x20`, `usher_relay_leading{instance="b"} 1 0x20`},
		quiet: []string{`usher_relay_leading{instance="a"} 0x20`, `usher_relay_leading{instance="b"} 1x20`},
		says:  "0 of the processes",
	},
	"UsherTwoRelayLeaders": {
		fires: []string{`usher_relay_leading{instance="a"} 1x20`, `usher_relay_leading{instance="b"} 1x20`},
		quiet: []string{`usher_relay_leading{instance="a"} 1 1 0x20`, `usher_relay_leading{instance="b"} 0 1 1x20`},
		says:  "2 do",
	},
	"UsherRelayFails": {
		at:    20 * time.Minute,
		fires: []string{`usher_relay_errors_total{instance="a"} 0+2x30`},
		quiet: []string{`usher_relay_errors_total{instance="a"} 0x5 5x30`},
		says:  "20 rounds",
	},
	"UsherBusAway": {
		fires:  []string{`usher_bus_connected{instance="a",connection="usher hooks"} 0x20`},
		quiet:  []string{`usher_bus_connected{instance="a",connection="usher hooks"} 0 1x20`},
		labels: map[string]string{"instance": "a", "connection": "usher hooks"},
		says:   "usher hooks",
	},
	"UsherBusNodeDown": {
		fires:  []string{`up{job="nats",instance="n1"} 0x20`, `up{job="nats",instance="n2"} 1x20`},
		quiet:  []string{`up{job="nats",instance="n1"} 1x20`, `gnatsd_healthz_status{job="nats",instance="n1",server_id="A",value="ok"} 0x20`},
		labels: map[string]string{"job": "nats", "instance": "n1"},
		says:   "n1 does not answer",
	},
	"UsherCheckpointsNotSent": {
		at:    40 * time.Minute,
		fires: []string{`usher_audit_checkpoints_total{step="send",outcome="error"} 0+1x60`, `usher_audit_checkpoints_total{step="send",outcome="ok"} 3x60`},
		quiet: []string{`usher_audit_checkpoints_total{step="send",outcome="error"} 0+1x60`, `usher_audit_checkpoints_total{step="send",outcome="ok"} 0+1x60`},
		says:  "15 tries",
	},
	"UsherHookFails": {
		at:     30 * time.Minute,
		fires:  []string{`usher_hook_attempt_duration_seconds_count{hook="crm",outcome="retry"} 0+9x40`, `usher_hook_attempt_duration_seconds_count{hook="crm",outcome="done"} 0+1x40`},
		quiet:  []string{`usher_hook_attempt_duration_seconds_count{hook="crm",outcome="retry"} 0+1x40`, `usher_hook_attempt_duration_seconds_count{hook="crm",outcome="done"} 0+9x40`},
		labels: map[string]string{"hook": "crm"},
		says:   "90% of its attempts",
	},
	"UsherDeadLetters": {
		fires:  []string{`usher_hook_failures{hook="crm",state="dead",instance="a"} 3x20`, `usher_hook_failures{hook="crm",state="dead",instance="b"} 3x20`},
		quiet:  []string{`usher_hook_failures{hook="crm",state="waiting",instance="a"} 3x20`},
		labels: map[string]string{"hook": "crm"},
		says:   "3 events",
	},
	"UsherHookLags": {
		at:     20 * time.Minute,
		fires:  []string{`usher_hook_pending{hook="crm",instance="a"} 2000x30`},
		quiet:  []string{`usher_hook_pending{hook="crm",instance="a"} 2000x5 0x30`},
		labels: map[string]string{"hook": "crm"},
		says:   "2000 events",
	},
	"UsherRetriesLate": {
		fires: []string{`usher_hook_retry_oldest_due_seconds{instance="a"} 600x20`},
		quiet: []string{`usher_hook_retry_oldest_due_seconds{instance="a"} 60x20`},
		says:  "10m 0s",
	},
	"UsherHookPaused": {
		at:     20 * time.Minute,
		fires:  []string{`usher_hooks_paused{instance="a"} 1x30`},
		quiet:  []string{`usher_hooks_paused{instance="a"} 1x5 0x30`},
		labels: map[string]string{"instance": "a"},
		says:   "1 hooks",
	},
	"UsherAnswersMissing": {
		at:     15 * time.Minute,
		fires:  []string{`usher_hook_answer_duration_seconds_count{hook="vet",answer="missing"} 0+60x20`},
		quiet:  []string{`usher_hook_answer_duration_seconds_count{hook="vet",answer="ok"} 0+60x20`, `usher_hook_answer_duration_seconds_count{hook="vet",answer="refused"} 0+60x20`},
		labels: map[string]string{"hook": "vet"},
		says:   "1 questions",
	},
	"UsherMailAbandoned": {
		at:    20 * time.Minute,
		fires: []string{`usher_mail_total{outcome="abandoned"} 0x10 3x30`},
		quiet: []string{`usher_mail_total{outcome="sent"} 0+3x30`, `usher_mail_total{outcome="abandoned"} 3x30`},
		says:  "people wait for codes",
	},
	"UsherMailServerAway": {
		at:    20 * time.Minute,
		fires: []string{`usher_mail_total{outcome="unreachable"} 0+9x30`, `usher_mail_total{outcome="sent"} 0+1x30`},
		quiet: []string{`usher_mail_total{outcome="unreachable"} 0+1x30`, `usher_mail_total{outcome="sent"} 0+9x30`},
		says:  "90% of the tries",
	},
	"UsherProviderFails": {
		at:     20 * time.Minute,
		fires:  []string{`usher_provider_attempts_total{provider="google",result="started"} 0+10x30`, `usher_provider_attempts_total{provider="google",result="unavailable"} 0+5x30`},
		quiet:  []string{`usher_provider_attempts_total{provider="google",result="started"} 0+10x30`, `usher_provider_attempts_total{provider="google",result="denied"} 0+5x30`},
		labels: map[string]string{"provider": "google"},
		says:   "50% of those",
	},
	"UsherDatabasePoolFull": {
		fires:  []string{`usher_db_connections{instance="a",pool="durable",state="used"} 10x20`, `usher_db_connections_max{instance="a",pool="durable"} 10x20`},
		quiet:  []string{`usher_db_connections{instance="a",pool="durable",state="used"} 5x20`, `usher_db_connections{instance="a",pool="durable",state="idle"} 5x20`, `usher_db_connections_max{instance="a",pool="durable"} 10x20`},
		labels: map[string]string{"instance": "a", "pool": "durable"},
		says:   "100% of the pool durable",
	},
	"UsherDatabaseCutOff": {
		fires:  []string{`usher_db_cut_off{instance="a"} 1x20`},
		quiet:  []string{`usher_db_cut_off{instance="a"} 0 1 0x20`, `usher_db_cut_off{instance="b"} 0x20`},
		labels: map[string]string{"instance": "a"},
		says:   "Other processes do, so a gets no requests",
	},
	"UsherDatabaseWaits": {
		at:     15 * time.Minute,
		fires:  []string{`usher_db_wait_seconds_total{instance="a",pool="reads"} 0+120x20`},
		quiet:  []string{`usher_db_wait_seconds_total{instance="a",pool="reads"} 0+1x20`},
		labels: map[string]string{"instance": "a", "pool": "reads"},
		says:   "2s together",
	},
	"UsherFlowsDropped": {
		at:     20 * time.Minute,
		fires:  []string{`usher_flows_dropped_total{waits_for="form"} 0x30`, `usher_flows_dropped_total{waits_for="code"} 0+20x30`},
		quiet:  []string{`usher_flows_dropped_total{waits_for="form"} 0x30`, `usher_flows_dropped_total{waits_for="code"} 300x30`},
		labels: map[string]string{"waits_for": "code"},
		says:   "300 that waited for a code",
	},
	"UsherRateLimited": {
		at:     20 * time.Minute,
		fires:  []string{`usher_limited_total{class="registration"} 0+120x30`},
		quiet:  []string{`usher_limited_total{class="registration"} 0+30x30`},
		labels: map[string]string{"class": "registration"},
		says:   "2 a second",
	},
	"UsherPasswordsGuessed": {
		at:    40 * time.Minute,
		fires: []string{`usher_logins_total{method="password",outcome="credentials"} 0+540x60`, `usher_logins_total{method="password",outcome="ok"} 0+60x60`},
		quiet: []string{`usher_logins_total{method="password",outcome="credentials"} 0+9x60`, `usher_logins_total{method="password",outcome="ok"} 0+1x60`},
		says:  "90% of the logins",
	},
	"UsherConsoleGuessed": {
		at:    20 * time.Minute,
		fires: []string{`usher_console_sign_ins_total{outcome="wrong"} 0+3x30`},
		quiet: []string{`usher_console_sign_ins_total{outcome="wrong"} 0+1x30`, `usher_console_sign_ins_total{outcome="ok"} 0+9x30`},
		says:  "45 wrong ones",
	},
	"UsherDiskFills": {
		at:     20 * time.Minute,
		fires:  disk("usher-node", "/var/lib/nats", "5x30"),
		quiet:  slices.Concat(disk("usher-node", "/var/lib/nats", "50x30"), disk("usher-node", "/home", "1x30"), disk("node", "/", "1x30")),
		labels: map[string]string{"job": "usher-node", "instance": "n1", "mountpoint": "/var/lib/nats"},
		says:   "n1",
	},
}
