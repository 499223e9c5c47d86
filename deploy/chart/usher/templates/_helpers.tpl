{{/* The name of everything that is made. */}}
{{- define "usher.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a part: never changed, a Deployment cannot. */}}
{{- define "usher.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with get . "part" }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "usher.labels" -}}
{{ include "usher.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | quote }}
{{- end -}}

{{- define "usher.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ printf "%s@%s" .repository .digest | quote }}
{{- else -}}
{{ printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) | quote }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The parts that there are, as JSON: those with a pod. */}}
{{- define "usher.parts" -}}
{{- $parts := list "api" "session" "hooks" -}}
{{- if .Values.parts.console.replicas }}{{ $parts = append $parts "console" }}{{ end -}}
{{- $parts | toJson -}}
{{- end -}}

{{/* The fewest pods that a part has. */}}
{{- define "usher.fewest" -}}
{{- if dig "autoscaling" "enabled" false .values }}{{ .values.autoscaling.minReplicas }}{{ else }}{{ .values.replicas }}{{ end -}}
{{- end -}}

{{/* The files of the bus that a part uses, as JSON, and no others: what it is not
given it cannot lose. mint.json makes the credentials of workers. */}}
{{- define "usher.credentials" -}}
{{- $administers := list "api-auth.creds" "api-events.creds" "provision.creds" "delivery.creds" "admin-auth.creds" "admin-events.creds" "mint.json" -}}
{{- get (dict
  "api" $administers
  "console" $administers
  "session" (list "session.creds" "session-events.creds")
  "hooks" (list "hooks.creds" "delivery.creds")
  "migrate" (list)) . | toJson -}}
{{- end -}}

{{/* The name that the certificate of the admin listeners is for, one for all parts: by
it Prometheus asks each of them. */}}
{{- define "usher.tlsName" -}}
{{- .Values.admin.tlsName | default (include "usher.fullname" .) -}}
{{- end -}}

{{/* What of a value may be a secret, each in a line: keys by their names, and URLs with a
user, a password or a parameter that is one. A ConfigMap keeps none of them. */}}
{{- define "usher.secretsIn" -}}
{{- $at := .at -}}
{{- if kindIs "map" .value -}}
{{- range $key, $v := .value -}}
{{- $here := printf "%s.%s" $at $key -}}
{{- $plain := not (or (kindIs "map" $v) (kindIs "slice" $v)) -}}
{{- if and $v (or (has $key (list "client_secret" "auth")) (and (eq $key "headers") (ne $here "config.courier.smtp.headers")) (and $plain (has $key (list "password" "secret" "token")))) -}}
{{ $here }} may be a secret{{ "\n" }}
{{- else -}}
{{- include "usher.secretsIn" (dict "at" $here "value" $v) -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $i, $v := .value -}}
{{- include "usher.secretsIn" (dict "at" (printf "%s.%d" $at $i) "value" $v) -}}
{{- end -}}
{{- else if kindIs "string" .value -}}
{{- if or (regexMatch "://[^/?#\\s]*@" .value) (regexMatch "(?i)^https?://[^#]*[?&][^=&#]*(key|token|secret|password|sig|auth)[^=&#]*=" .value) -}}
{{ $at }} is a URL with a secret in it{{ "\n" }}
{{- else if regexMatch "-----BEGIN [A-Z ]*PRIVATE KEY|usher_at_[0-9A-Za-z]|whsec_[0-9A-Za-z]" .value -}}
{{ $at }} is a secret{{ "\n" }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What is missing, or does not belong where it stands. */}}
{{- define "usher.validate" -}}
{{- $bad := list -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "usher.fullname" .)) }}{{ $bad = append $bad (printf "release %s: a Service cannot be called %s, only by letters, digits and -, with a letter first" .Release.Name (include "usher.fullname" .)) }}{{ end -}}
{{- with .Values -}}
{{- range $key, $why := dict
  "image.repository" (ternary "" "where you pushed what deploy/Containerfile builds" (ne .image.repository ""))
  "public.url" (ternary "" "what browsers and apps use, such as https://id.example.com/" (ne .public.url ""))
  "admin.scrapeToken.existingSecret" (ternary "" "a Secret with the token for metrics: kubectl create secret generic usher-scrape --from-literal=token=usher_at_$(openssl rand -hex 32)" (ne .admin.scrapeToken.existingSecret ""))
  "database.existingSecret" (ternary "" "a Secret with the address of PostgreSQL: kubectl create secret generic usher-database --from-file=dsn=FILE" (ne .database.existingSecret ""))
  "secrets.existingSecret" (ternary "" "a Secret with secrets.default: kubectl create secret generic usher-secrets --from-literal=default=$(openssl rand -hex 32)" (ne .secrets.existingSecret ""))
  "bus.url" (ternary "" "the NATS servers, such as nats://nats-0.nats:4222,nats://nats-1.nats:4222" (ne .bus.url ""))
  "bus.existingSecret" (ternary "" "a Secret with what 'usher bus config --out bus' wrote: kubectl create secret generic usher-bus --from-file=bus/creds" (ne .bus.existingSecret ""))
-}}
{{- if $why }}{{ $bad = append $bad (printf "%s is needed: %s" $key $why) }}{{ end -}}
{{- end -}}
{{- $c := .config -}}
{{- if hasKey $c "dsn" }}{{ $bad = append $bad "config.dsn: it holds a password; database.existingSecret names a Secret" }}{{ end -}}
{{- if hasKey $c "secrets" }}{{ $bad = append $bad "config.secrets: secrets.existingSecret names a Secret" }}{{ end -}}
{{- if dig "courier" "smtp" "connection_uri" "" $c }}{{ $bad = append $bad "config.courier.smtp.connection_uri: it holds a password; mail.existingSecret names a Secret" }}{{ end -}}
{{- range tuple "data_dir" "dev" }}{{ if hasKey $c . }}{{ $bad = append $bad (printf "config.%s: the chart sets it" .) }}{{ end }}{{ end -}}
{{- range tuple "url" "credentials" "replicas" "tls" "listen" }}{{ if hasKey (dig "bus" dict $c) . }}{{ $bad = append $bad (printf "config.bus.%s: the chart sets it from bus" .) }}{{ end }}{{ end -}}
{{- range $l := tuple "public" "admin" }}{{ range tuple "base_url" "host" "port" "tls" }}
{{- if hasKey (dig "serve" $l dict $c) . }}{{ $bad = append $bad (printf "config.serve.%s.%s: the chart sets it from %s, and from parts.console.url" $l . $l) }}{{ end -}}
{{- end }}{{ end -}}
{{- if hasKey (dig "serve" dict $c) "drain_delay" }}{{ $bad = append $bad "config.serve.drain_delay: the chart sets it from drainDelaySeconds" }}{{ end -}}
{{- range compact (splitList "\n" (include "usher.secretsIn" (dict "at" "config" "value" $c))) }}
{{- $bad = append $bad (printf "%s, and a ConfigMap keeps none: use client_secret_file and secretFiles, or give usher.yaml by configSecret" .) }}{{ end -}}
{{- range compact (splitList "\n" (include "usher.secretsIn" (dict "at" "files" "value" .files))) }}
{{- $bad = append $bad (printf "%s, and a ConfigMap keeps none: secretFiles names a Secret" .) }}{{ end -}}
{{- range .extraEnv }}
{{- if regexMatch "^USHER_(DSN|SECRETS__.*|COURIER__SMTP__CONNECTION_URI|ADMIN_TOKEN)" (get . "name") }}
{{- $bad = append $bad (printf "extraEnv: %s is not for the environment: the chart gives secrets as files" (get . "name")) }}
{{- else if and (get . "value") (regexMatch "(?i)(HEADERS|TOKEN|SECRET|PASSWORD|API_?KEY)$" (get . "name")) }}
{{- $bad = append $bad (printf "extraEnv: %s may be a secret: valueFrom takes it from a Secret" (get . "name")) }}
{{- end }}
{{- range compact (splitList "\n" (include "usher.secretsIn" (dict "at" (printf "extraEnv: %s" (get . "name")) "value" (get . "value")))) }}
{{- $bad = append $bad (printf "%s: valueFrom takes it from a Secret" .) }}{{ end -}}
{{- end -}}
{{- if and $c .configSecret }}{{ $bad = append $bad "config and configSecret: only one of them" }}{{ end -}}
{{- if and .files .configSecret }}{{ $bad = append $bad "files and configSecret: put the files into that Secret" }}{{ end -}}
{{- if hasKey .files "usher.yaml" }}{{ $bad = append $bad "files: usher.yaml is made of config" }}{{ end -}}
{{- range $name, $p := .parts }}{{ with get $p "autoscaling" }}{{ if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- $bad = append $bad (printf "parts.%s.autoscaling: minReplicas %v is more than maxReplicas %v" $name .minReplicas .maxReplicas) }}{{ end }}{{ end }}{{ end -}}
{{- if and .admin.tlsPublicCA (not .admin.tlsName) }}{{ $bad = append $bad "admin.tlsName is needed with admin.tlsPublicCA: a public authority knows no names of inside the cluster" }}{{ end -}}
{{- if and .bus.tlsPublicCA .bus.tlsSecret (not .bus.tlsClient) }}{{ $bad = append $bad "bus.tlsSecret: with bus.tlsPublicCA it holds nothing but the certificate of tlsClient" }}{{ end -}}
{{- if and .bus.tlsClient (not .bus.tlsSecret) }}{{ $bad = append $bad "bus.tlsSecret is needed with bus.tlsClient: a Secret with tls.crt and tls.key" }}{{ end -}}
{{- if and .ingress.console.enabled (not .parts.console.replicas) }}{{ $bad = append $bad "ingress.console: parts.console.replicas is 0" }}{{ end -}}
{{- end -}}
{{- if $bad }}{{ fail (printf "\n\nThese values are not right:\n  - %s\n" (join "\n  - " $bad)) }}{{ end -}}
{{- end -}}

{{/* The host of a URL, without its port. */}}
{{- define "usher.host" -}}
{{- regexReplaceAll ":[0-9]+$" (urlParse .).host "" -}}
{{- end -}}
