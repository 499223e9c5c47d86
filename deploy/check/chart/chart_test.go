package chart

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"

	"github.com/usher-auth/usher/deploy/check/checkout"
)

const folder = "deploy/chart/usher"

// valuesFiles are what the chart is rendered with.
var valuesFiles = []string{"minimum", "small", "all", "odd", "acme"}

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(checkout.Path(t, folder))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func render(t *testing.T, values map[string]any) *Objects {
	t.Helper()
	o, err := Render(load(t), "id", values)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func values(t *testing.T, name string) map[string]any {
	t.Helper()
	v, err := chartutil.ReadValuesFile(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLint(t *testing.T) {
	t.Parallel()
	for _, name := range valuesFiles {
		for _, m := range lint.All(checkout.Path(t, folder), values(t, name), "id", false).Messages {
			if m.Severity >= support.WarningSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}

func TestChart(t *testing.T) {
	t.Parallel()
	for _, name := range valuesFiles {
		o, err := Render(load(t), "id", values(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, problem := range append(o.Check(), o.CheckProgram(checkout.Usher(t), t.TempDir())...) {
			t.Errorf("%s: %s", name, problem)
		}
		if !strings.Contains(o.Notes, "helm test id") {
			t.Errorf("%s: the notes do not say how to look\n%s", name, o.Notes)
		}
	}
}

// TestEverythingIsRendered sees that the values "all" turn everything on: what no
// values turn on, no check sees.
func TestEverythingIsRendered(t *testing.T) {
	t.Parallel()
	o := render(t, values(t, "all"))
	for what, n := range map[string][2]int{
		"Deployments": {len(o.Deployments), 4}, "Jobs": {len(o.Jobs), 1}, "test pods": {len(o.Pods), 1}, "Services": {len(o.Services), 5},
		"ConfigMaps": {len(o.ConfigMaps), 3}, "autoscalers": {len(o.Scalers), 3}, "budgets": {len(o.Budgets), 4},
		"network policies": {len(o.Policies), 5}, "Ingresses": {len(o.Ingresses), 2}, "monitors": {len(o.Monitors), 1}, "rules": {len(o.Rules), 1},
	} {
		if n[0] != n[1] {
			t.Errorf("%d %s, want %d", n[0], what, n[1])
		}
	}
}

func TestRulesAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	o := render(t, values(t, "all"))
	var want any
	if err := yaml.Unmarshal([]byte(checkout.Read(t, "deploy/prometheus/alerts.yml")), &want); err != nil {
		t.Fatal(err)
	}
	if got, want := canonical(t, o.Rules[0].Object["spec"]), canonical(t, want); got != want {
		t.Errorf("the rendered rules are others than those of the file:\n%s\nwant\n%s", got, want)
	}
}

// TestDashboardIsThatOfGrafana: the chart has no copy that could differ.
func TestDashboardIsThatOfGrafana(t *testing.T) {
	t.Parallel()
	for _, m := range render(t, values(t, "all")).ConfigMaps {
		if m.Name == "id-usher-dashboard" {
			if m.Labels["grafana_dashboard"] != "1" || m.Data["usher.json"] != checkout.Read(t, "deploy/grafana/usher.json") {
				t.Errorf("labels %v and %d bytes are not what Grafana's sidecar is to find", m.Labels, len(m.Data["usher.json"]))
			}
			return
		}
	}
	t.Error("no ConfigMap with the dashboard")
}

func canonical(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestBrokenChartsAreRefused breaks a copy of the chart, and wants each break seen.
func TestBrokenChartsAreRefused(t *testing.T) {
	t.Parallel()
	usher := checkout.Usher(t)
	for name, broken := range map[string]struct{ file, old, new, want string }{
		"unknown field":              {"templates/deployments.yaml", "revisionHistoryLimit: 3", "revisionHistory: 3", `unknown field "spec.revisionHistory"`},
		"undefined value":            {"templates/services.yaml", ".Values.service.port", ".Values.service.prot", "prot"},
		"no limits":                  {"templates/deployments.yaml", "resources: {{- toYaml $own.resources | nindent 12 }}", "resources: {}", "no limit or request of cpu"},
		"no readiness probe":         {"templates/deployments.yaml", `httpGet: {path: /health/{{ has $part (list "api" "console") | ternary "accepting" "ready" }}, port: admin, scheme: {{ include "usher.adminScheme" $ }}}`, "tcpSocket: {port: admin}", "no readinessProbe"},
		"probe of a port not there":  {"templates/deployments.yaml", `"ready" }}, port: admin`, `"ready" }}, port: health`, `"health", which no container has`},
		"api by its database":        {"templates/deployments.yaml", `(list "api" "console")`, `(list "console")`, "readinessProbe asks /health/ready, want /health/accepting"},
		"root":                       {"templates/_pod.tpl", "runAsNonRoot: true\nrunAsUser: 65532", "runAsNonRoot: false\nrunAsUser: 0", "may run as root"},
		"writable root":              {"templates/_pod.tpl", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "can write to its root"},
		"capabilities":               {"templates/_pod.tpl", "{drop: [ALL]}", "{drop: [ALL], add: [NET_ADMIN]}", "has capabilities"},
		"token of Kubernetes":        {"templates/deployments.yaml", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "token of the Kubernetes API"},
		"secret in a ConfigMap":      {"templates/configmap.yaml", "usher.yaml: |", "usher.yaml: |\n  dsn: postgres://usher:hunter2@db/usher", "holds a secret"},
		"secret in the environment":  {"templates/_pod.tpl", "USHER_DSN_FILE, value: /run/usher/secrets/dsn", "USHER_DSN, value: postgres://db/usher", "USHER_DSN is in the environment"},
		"selector of other pods":     {"templates/services.yaml", `selector: {{- include "usher.selector" (dict "root" . "part" "api")`, `selector: {{- include "usher.selector" (dict "root" .)`, "matches 6 kinds of pods"},
		"port that no pod has":       {"templates/services.yaml", "targetPort: public", "targetPort: http", `has no port "http"`},
		"budget of all pods":         {"templates/scaling.yaml", "maxUnavailable: 1", "maxUnavailable: 2", "less than the 2 pods"},
		"scaler of nothing":          {"templates/scaling.yaml", "kind: Deployment, name: {{ $name }}-{{ $part }}", "kind: Deployment, name: {{ $part }}", "there is no Deployment"},
		"too short an end":           {"templates/deployments.yaml", "add $.Values.drainDelaySeconds 45", "add $.Values.drainDelaySeconds 5", "terminationGracePeriodSeconds"},
		"all credentials":            {"templates/_helpers.tpl", `(list "session.creds" "session-events.creds")`, `(list "session.creds" "session-events.creds" "mint.json")`, "of the bus it gets"},
		"admin port for everybody":   {"templates/networkpolicies.yaml", "      from:\n        - podSelector:\n            matchLabels: {{- include \"usher.selector\" (dict \"root\" $ \"part\" \"test\") | nindent 14 }}\n        {{- with $policy.metricsFrom }}\n        {{- toYaml . | nindent 8 }}\n        {{- end }}\n", "", "everybody reaches the admin port"},
		"a part without policy":      {"templates/networkpolicies.yaml", "range $part := include \"usher.parts\" . | fromJsonArray", `range $part := list "api" "session"`, "hooks: no network policy keeps it"},
		"admin API on an ingress":    {"templates/ingress.yaml", "path: /console, pathType", "path: /, pathType", "only /console is for browsers"},
		"ConfigMap after its job":    {"templates/migrate.yaml", `helm.sh/hook-weight: "-10"`, `helm.sh/hook-weight: "5"`, "before its ConfigMap"},
		"scraped without a token":    {"templates/monitoring.yaml", "authorization:\n        credentials: {name: {{ .Values.admin.scrapeToken.existingSecret | quote }}, key: {{ .Values.admin.scrapeToken.key | quote }}}", "honorLabels: true", "field honorLabels not found"},
		"scraped by an address":      {"templates/monitoring.yaml", `serverName: {{ include "usher.tlsName" . | quote }}`, "", "without the name of the certificate"},
		"scraped without TLS":        {"templates/monitoring.yaml", `scheme: {{ include "usher.adminScheme" . | lower }}`, "scheme: http", "id-usher-api-admin by http"},
		"unknown command":            {"templates/deployments.yaml", "args: [serve, {{ $part }}", "args: [run, {{ $part }}", `no command "run"`},
		"unknown flag":               {"templates/migrate.yaml", "--from, /run/usher/secrets/scrape_token", "--file, /run/usher/secrets/scrape_token", "has no flag --file"},
		"all of the memory":          {"templates/_pod.tpl", "0.85", "1.0", "GOMEMLIMIT"},
		"unknown key":                {"templates/_pod.tpl", "USHER_SERVE__DRAIN_DELAY", "USHER_SERVE__DRAIN", "did you mean USHER_SERVE__DRAIN_DELAY"},
		"configuration that is none": {"templates/configmap.yaml", "usher.yaml: |", "usher.yaml: |\n  sessions: {}", "sessions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := load(t)
			at := slices.IndexFunc(c.Templates, func(f *chart.File) bool { return f.Name == broken.file })
			if at < 0 || !bytes.Contains(c.Templates[at].Data, []byte(broken.old)) {
				t.Fatalf("%s has no %q to break", broken.file, broken.old)
			}
			c.Templates[at].Data = bytes.ReplaceAll(c.Templates[at].Data, []byte(broken.old), []byte(broken.new))
			o, err := Render(c, "id", values(t, "all"))
			if err != nil {
				if !strings.Contains(err.Error(), broken.want) {
					t.Errorf("Render = %v, want %q", err, broken.want)
				}
				return
			}
			problems := o.Check()
			if !contains(problems, broken.want) { // the program is slower
				problems = append(problems, o.CheckProgram(usher, t.TempDir())...)
			}
			if !contains(problems, broken.want) {
				t.Errorf("problems = %q, want %q", problems, broken.want)
			}
		})
	}
}

func contains(problems []string, want string) bool {
	return slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, want) })
}

// TestValuesAreRefused sees that wrong values are refused, and why.
func TestValuesAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"prots: {}":                                                                    "additional properties 'prots' not allowed",
		"parts: {api: {replica: 3}}":                                                   "'replica' not allowed",
		"parts: {api: {replicas: 0}}":                                                  "minimum",
		"public: {port: 80}":                                                           "minimum",
		"public: {url: id.example.org}":                                                "does not match pattern",
		"bus: {replicas: 2}":                                                           "must be one of",
		"parts: {api: {resources: {limits: {}}}}":                                      "", // merged with the defaults: nothing is missing
		"parts: {api: {resources: {limits: {cpu: null}}}}":                             "cpu",
		"image: {digest: latest}":                                                      "does not match pattern",
		"topologySpread: Sometimes":                                                    "must be one of",
		"public: {url: \"\"}":                                                          "public.url is needed",
		"bus: {existingSecret: \"\"}":                                                  "usher bus config",
		"config: {dsn: memory}":                                                        "database.existingSecret",
		"config: {secrets: {default: [x]}}":                                            "secrets.existingSecret",
		"config: {dev: true}":                                                          "config.dev",
		"config: {serve: {admin: {port: 1}}}":                                          "config.serve.admin.port",
		"config: {a: [{client_secret: x}]}":                                            "config.a.0.client_secret may be a secret, and a ConfigMap keeps none: use client_secret_file",
		"config: {a: {auth: {type: basic_auth}}}":                                      "config.a.auth may be a secret",
		"config: {a: [{hook: web_hook, config: {headers: {X-Key: x}}}]}":               "config.a.0.config.headers may be a secret",
		"config: {courier: {smtp: {headers: {X-Mailer: usher}}}}":                      "",
		"config: {courier: {http: {request_config: {headers: {X-Key: x}}}}}":           "config.courier.http.request_config.headers may be a secret",
		"config: {courier: {http: {request_config: {auth: {type: api_key}}}}}":         "config.courier.http.request_config.auth may be a secret",
		"config: {a: [{url: 'https://user:x@hooks.example.org/'}]}":                    "config.a.0.url is a URL with a secret in it",
		"config: {a: [{url: 'https://x@hooks.example.org'}]}":                          "config.a.0.url is a URL with a secret in it",
		"config: {a: [{url: 'https://hooks.example.org/?a=b&api_key=x'}]}":             "config.a.0.url is a URL with a secret in it",
		"config: {a: [{url: 'https://hooks.example.org/@usher?a=b'}]}":                 "",
		"config: {audit: {checkpoint: {sink: 'https://a:b@audit.example.org/'}}}":      "config.audit.checkpoint.sink is a URL",
		"config: {a: {password: {enabled: true}, secret: 7}}":                          "config.a.secret may be a secret",
		"config: {a: {password: {enabled: true}, secret_file: /run/usher/files/x}}":    "",
		"files: {a.jsonnet: \"'postgres://usher:x@db/usher'\"}":                        "files.a.jsonnet is a URL with a secret in it, and a ConfigMap keeps none: secretFiles",
		"files: {key.pem: '-----BEGIN EC PRIVATE KEY-----'}":                           "files.key.pem is a secret",
		"extraEnv: [{name: USHER_DSN, value: memory}]":                                 "USHER_DSN is not for the environment",
		"extraEnv: [{name: OTEL_EXPORTER_OTLP_HEADERS, value: a=b}]":                   "OTEL_EXPORTER_OTLP_HEADERS may be a secret: valueFrom",
		"extraEnv: [{name: HTTPS_PROXY, value: 'http://a:b@proxy:3128'}]":              "HTTPS_PROXY is a URL with a secret in it: valueFrom",
		"admin: {tlsSecret: x, tlsPublicCA: true}":                                     "admin.tlsName is needed",
		"bus: {tlsSecret: x, tlsPublicCA: true}":                                       "nothing but the certificate of tlsClient",
		"bus: {tlsClient: true}":                                                       "bus.tlsSecret is needed",
		"configSecret: x\nconfig: {log: {level: info}}":                                "only one of them",
		"parts: {api: {autoscaling: {enabled: true, minReplicas: 5, maxReplicas: 3}}}": "more than maxReplicas",
	} {
		given := values(t, "minimum")
		over, err := chartutil.ReadValues([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Render(load(t), "id", chartutil.CoalesceTables(over, given))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestWhatIsNeededIsNamed sees that the first render names all that is missing, not one after another.
func TestWhatIsNeededIsNamed(t *testing.T) {
	t.Parallel()
	_, err := Render(load(t), "id", nil)
	if err == nil {
		t.Fatal("the chart is rendered without what it needs")
	}
	for _, want := range []string{"image.repository", "public.url", "admin.scrapeToken.existingSecret", "database.existingSecret", "secrets.existingSecret", "bus.url", "bus.existingSecret"} {
		if !strings.Contains(err.Error(), want+" is needed") {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

// TestSchemaIsOfTheValues sees that every default is known to the schema, and that
// every object of the schema that the chart reads is closed.
func TestSchemaIsOfTheValues(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	if err := json.Unmarshal([]byte(checkout.Read(t, folder+"/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	if closed, ok := schema["additionalProperties"].(bool); !ok || closed {
		t.Error("values.schema.json takes any key")
	}
	known := schema["properties"].(map[string]any)
	for name := range load(t).Values {
		if known[name] == nil {
			t.Errorf("values.schema.json does not know %s of values.yaml", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if _, ok := load(t).Values[name]; !ok && name != "global" {
			t.Errorf("values.yaml does not name %s of values.schema.json", name)
		}
	}
}
