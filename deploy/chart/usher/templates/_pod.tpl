{{/* How a listener is asked. */}}
{{- define "usher.adminScheme" -}}
{{- ternary "HTTPS" "HTTP" (ne .Values.admin.tlsSecret "") -}}
{{- end -}}

{{- define "usher.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "usher.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* 85 % of a limit, such as 512Mi: Go's runtime tidies up rather than be killed. */}}
{{- define "usher.memory" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- $unit := regexFind "[kKMG]?i?$" (toString .) -}}
{{- mulf (regexFind "^[0-9.]+" (toString .) | float64) (get $units $unit) 0.85 | int64 -}}
{{- end -}}

{{/* What the chart sets of the configuration: it wins over usher.yaml. */}}
{{- define "usher.env" -}}
{{- $v := .root.Values -}}
- {name: USHER_DATA_DIR, value: /var/lib/usher}
- {name: USHER_DSN_FILE, value: /run/usher/secrets/dsn}
- {name: USHER_SECRETS__DEFAULT_FILE, value: /run/usher/secrets/default}
{{- if $v.secrets.cipherKey }}
- {name: USHER_SECRETS__CIPHER_FILE, value: /run/usher/secrets/cipher}
{{- end }}
{{- if $v.secrets.cookieKey }}
- {name: USHER_SECRETS__COOKIE_FILE, value: /run/usher/secrets/cookie}
{{- end }}
{{- if $v.mail.existingSecret }}
- {name: USHER_COURIER__SMTP__CONNECTION_URI_FILE, value: /run/usher/secrets/connection_uri}
{{- end }}
- {name: USHER_BUS__URL, value: {{ $v.bus.url | quote }}}
- {name: USHER_BUS__CREDENTIALS, value: /run/usher/bus}
- {name: USHER_BUS__REPLICAS, value: {{ $v.bus.replicas | quote }}}
{{- if and $v.bus.tlsSecret (not $v.bus.tlsPublicCA) }}
- {name: USHER_BUS__TLS__CA, value: /run/usher/bus-tls/ca.crt}
{{- end }}
{{- if $v.bus.tlsClient }}
- {name: USHER_BUS__TLS__CERT, value: /run/usher/bus-tls/tls.crt}
- {name: USHER_BUS__TLS__KEY, value: /run/usher/bus-tls/tls.key}
{{- end }}
- {name: USHER_SERVE__PUBLIC__BASE_URL, value: {{ $v.public.url | quote }}}
- {name: USHER_SERVE__PUBLIC__PORT, value: {{ $v.public.port | quote }}}
- {name: USHER_SERVE__ADMIN__HOST, value: ""}
- {name: USHER_SERVE__ADMIN__PORT, value: {{ $v.admin.port | quote }}}
{{- range $listener := tuple "public" "admin" }}
{{- if (get $v $listener).tlsSecret }}
- {name: USHER_SERVE__{{ upper $listener }}__TLS__CERT__PATH, value: /run/usher/tls/{{ $listener }}/tls.crt}
- {name: USHER_SERVE__{{ upper $listener }}__TLS__KEY__PATH, value: /run/usher/tls/{{ $listener }}/tls.key}
{{- end }}
{{- end }}
{{- if ne .part "migrate" }}
- {name: USHER_SERVE__DRAIN_DELAY, value: {{ printf "%ds" (int $v.drainDelaySeconds) }}}
{{- end }}
{{- if eq .part "console" }}
- {name: USHER_SERVE__ADMIN__BASE_URL, value: {{ $v.parts.console.url | quote }}}
{{- end }}
{{- /* The set-up link would stand in a log that many read. */}}
{{- if not (hasKey (dig "console" dict $v.config) "setup_link") }}
- {name: USHER_CONSOLE__SETUP_LINK, value: "false"}
{{- end }}
{{- if not (hasKey (dig "log" dict $v.config) "format") }}
- {name: USHER_LOG__FORMAT, value: json}
{{- end }}
- {name: GOMEMLIMIT, value: {{ include "usher.memory" .memory | quote }}}
{{- with $v.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "usher.mounts" -}}
{{- $v := .root.Values -}}
- {name: config, mountPath: /etc/usher, readOnly: true}
- {name: data, mountPath: /var/lib/usher}
- {name: secrets, mountPath: /run/usher/secrets, readOnly: true}
{{- if include "usher.credentials" .part | fromJsonArray }}
- {name: bus, mountPath: /run/usher/bus, readOnly: true}
{{- end }}
{{- if $v.bus.tlsSecret }}
- {name: bus-tls, mountPath: /run/usher/bus-tls, readOnly: true}
{{- end }}
{{- if $v.database.caSecret }}
- {name: database, mountPath: /run/usher/database, readOnly: true}
{{- end }}
{{- if $v.secretFiles }}
- {name: files, mountPath: /run/usher/files, readOnly: true}
{{- end }}
{{- range $listener := tuple "public" "admin" }}
{{- if (get $v $listener).tlsSecret }}
- {name: {{ $listener }}-tls, mountPath: /run/usher/tls/{{ $listener }}, readOnly: true}
{{- end }}
{{- end }}
{{- end -}}

{{/* Secrets are files: what is in them can change without a restart, and no
environment shows them. */}}
{{- define "usher.volumes" -}}
{{- $v := .root.Values -}}
- name: config
{{- if $v.configSecret }}
  secret: {secretName: {{ $v.configSecret | quote }}, defaultMode: 0440}
{{- else }}
  configMap: {name: {{ .config | quote }}}
{{- end }}
- name: data
  emptyDir: {sizeLimit: 64Mi}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ $v.database.existingSecret | quote }}
          items: [{key: {{ $v.database.key | quote }}, path: dsn}]
      - secret:
          name: {{ $v.secrets.existingSecret | quote }}
          items:
            - {key: {{ $v.secrets.defaultKey | quote }}, path: default}
            {{- with $v.secrets.cipherKey }}
            - {key: {{ . | quote }}, path: cipher}
            {{- end }}
            {{- with $v.secrets.cookieKey }}
            - {key: {{ . | quote }}, path: cookie}
            {{- end }}
      {{- with $v.mail }}
      {{- if .existingSecret }}
      - secret:
          name: {{ .existingSecret | quote }}
          items: [{key: {{ .key | quote }}, path: connection_uri}]
      {{- end }}
      {{- end }}
      {{- if eq .part "migrate" }}
      - secret:
          name: {{ $v.admin.scrapeToken.existingSecret | quote }}
          items: [{key: {{ $v.admin.scrapeToken.key | quote }}, path: scrape_token}]
      {{- end }}
{{- with include "usher.credentials" .part | fromJsonArray }}
- name: bus
  secret:
    secretName: {{ $v.bus.existingSecret | quote }}
    defaultMode: 0440
    items:
      {{- range . }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}
{{- if $v.bus.tlsSecret }}
- name: bus-tls
  secret:
    secretName: {{ $v.bus.tlsSecret | quote }}
    defaultMode: 0440
    items:
      {{- if not $v.bus.tlsPublicCA }}
      - {key: ca.crt, path: ca.crt}
      {{- end }}
      {{- if $v.bus.tlsClient }}
      - {key: tls.crt, path: tls.crt}
      - {key: tls.key, path: tls.key}
      {{- end }}
{{- end }}
{{- with $v.database.caSecret }}
- name: database
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- with $v.secretFiles }}
- name: files
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- range $listener := tuple "public" "admin" }}
{{- with (get $v $listener).tlsSecret }}
- name: {{ $listener }}-tls
  secret: {secretName: {{ . | quote }}, defaultMode: 0440, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}
{{- end }}
{{- end }}
{{- end -}}
