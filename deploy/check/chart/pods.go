package chart

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// pod is what becomes a pod, of whatever kind.
type pod struct {
	name   string
	labels map[string]string
	spec   *corev1.PodSpec
	serves bool   // a Deployment: it runs on, and is asked how it is
	part   string // api, session, hooks, console, migrate, test
}

// component says which part a pod is.
const component = "app.kubernetes.io/component"

func (o *Objects) pods() []pod {
	var all []pod
	for _, d := range o.Deployments {
		t := &d.Spec.Template
		all = append(all, pod{d.Name, t.Labels, &t.Spec, true, t.Labels[component]})
	}
	for _, j := range o.Jobs {
		t := &j.Spec.Template
		all = append(all, pod{j.Name, t.Labels, &t.Spec, false, t.Labels[component]})
	}
	for _, p := range o.Pods {
		all = append(all, pod{p.Name, p.Labels, &p.Spec, false, p.Labels[component]})
	}
	return all
}

func (p pod) containers() []corev1.Container {
	return slices.Concat(p.spec.InitContainers, p.spec.Containers)
}

// hasPort tells whether a container of the pod has a port of this name.
func (p pod) hasPort(name string) bool {
	return slices.ContainsFunc(p.containers(), func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(port corev1.ContainerPort) bool { return port.Name == name })
	})
}

func (p pod) matches(selector map[string]string) bool {
	return len(selector) > 0 && labels.SelectorFromSet(selector).Matches(labels.Set(p.labels))
}

// checkPods says what is wrong with each pod by itself.
func (o *Objects) checkPods() (problems []string) {
	for _, p := range o.pods() {
		say := func(format string, args ...any) {
			problems = append(problems, p.name+": "+fmt.Sprintf(format, args...))
		}
		p.checkSecurity(say)
		p.checkVolumes(say, o)
		for _, c := range p.containers() {
			ofContainer := func(format string, args ...any) { say("container %s: %s", c.Name, fmt.Sprintf(format, args...)) }
			checkContainer(ofContainer, c)
			if p.serves {
				p.checkProbes(ofContainer, c)
			}
		}
		if p.serves {
			p.checkEnd(say)
		}
	}
	return problems
}

type sayer func(format string, args ...any)

func (p pod) checkSecurity(say sayer) {
	s := p.spec.SecurityContext
	switch {
	case s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0:
		say("it may run as root")
	case s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault:
		say("no seccomp profile")
	}
	if p.spec.AutomountServiceAccountToken == nil || *p.spec.AutomountServiceAccountToken {
		say("it gets a token of the Kubernetes API, which nothing here asks")
	}
	if p.spec.HostNetwork || p.spec.HostPID || p.spec.HostIPC {
		say("it shares the host's namespaces")
	}
}

func checkContainer(say sayer, c corev1.Container) {
	for _, of := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		limit, request := c.Resources.Limits[of], c.Resources.Requests[of]
		if limit.IsZero() || request.IsZero() {
			say("no limit or request of %s", of)
		} else if request.Cmp(limit) > 0 {
			say("it requests more %s than its limit", of)
		}
	}
	for _, e := range c.Env {
		share := 0.0
		if bytes, err := strconv.ParseFloat(e.Value, 64); err == nil {
			share = bytes / c.Resources.Limits.Memory().AsApproximateFloat64()
		}
		if e.Name == "GOMEMLIMIT" && (share < 0.8 || share > 0.9) {
			say("GOMEMLIMIT is %q, want about 85 %% of the limit", e.Value)
		}
	}
	s := c.SecurityContext
	if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
		s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
		say("it can write to its root, gain privileges or has capabilities")
	}
	if _, tag, ok := strings.Cut(c.Image, ":"); !ok || tag == "" || tag == "latest" {
		say("the image %q is not pinned", c.Image)
	}
}

func (p pod) checkProbes(say sayer, c corev1.Container) {
	for name, probe := range map[string]*corev1.Probe{"startupProbe": c.StartupProbe, "livenessProbe": c.LivenessProbe, "readinessProbe": c.ReadinessProbe} {
		want := "/health/alive"
		if name == "readinessProbe" {
			want = "/health/ready"
			if p.part == "api" || p.part == "console" { // the database of all must not take out all
				want = "/health/accepting"
			}
		}
		switch {
		case probe == nil || probe.HTTPGet == nil:
			say("no %s", name)
		case probe.HTTPGet.Path != want:
			say("%s asks %s, want %s", name, probe.HTTPGet.Path, want)
		case !p.hasPort(probe.HTTPGet.Port.StrVal):
			say("%s asks the port %q, which no container has", name, probe.HTTPGet.Port.String())
		}
	}
}

// rest is how many seconds a process may take to end once it has left the services.
const rest = 30

func (p pod) checkEnd(say sayer) {
	var drain int64
	for _, e := range p.spec.Containers[0].Env {
		if e.Name == "USHER_SERVE__DRAIN_DELAY" {
			if _, err := fmt.Sscanf(e.Value, "%ds", &drain); err != nil {
				say("USHER_SERVE__DRAIN_DELAY is %q, want seconds", e.Value)
			}
		}
	}
	if g := p.spec.TerminationGracePeriodSeconds; g == nil || *g < drain+rest {
		say("terminationGracePeriodSeconds must be %d or more: a drain delay of %d s and %d s for what runs", drain+rest, drain, rest)
	}
}

func (p pod) checkVolumes(say sayer, o *Objects) {
	volumes := map[string]corev1.Volume{}
	for _, v := range p.spec.Volumes {
		volumes[v.Name] = v
		if v.ConfigMap != nil && !slices.ContainsFunc(o.ConfigMaps, func(m *corev1.ConfigMap) bool { return m.Name == v.ConfigMap.Name }) {
			say("volume %s is of a ConfigMap %q that nothing makes", v.Name, v.ConfigMap.Name)
		}
	}
	for _, c := range p.containers() {
		for _, m := range c.VolumeMounts {
			if _, ok := volumes[m.Name]; !ok {
				say("container %s mounts %q, which is no volume", c.Name, m.Name)
			}
		}
	}
	if bus, ok := volumes["bus"]; ok && len(bus.Secret.Items) == 0 {
		say("the volume bus gives it all credentials of the bus")
	}
}

// credentials are the files of the bus that it is given, in order.
func (p pod) credentials() (files []string) {
	for _, v := range p.spec.Volumes {
		if v.Name != "bus" || v.Secret == nil {
			continue
		}
		for _, i := range v.Secret.Items {
			files = append(files, i.Key)
		}
	}
	slices.Sort(files)
	return files
}

// secretKeys are keys of the configuration that hold a secret.
var secretKeys = regexp.MustCompile(`^USHER_(DSN|SECRETS__.*|COURIER__SMTP__CONNECTION_URI|ADMIN_TOKEN)$`)

// secretText is what a secret looks like.
var secretText = regexp.MustCompile(`://[^/@\s]+@|-----BEGIN [A-Z ]*PRIVATE KEY|usher_at_[0-9A-Za-z]|(?m)^\s*"?(client_secret|password|secret)"?:[ \t]*\S`)

// checkSecrets says where a secret would stand that everybody reads who sees the
// objects: in a ConfigMap or the environment.
func (o *Objects) checkSecrets() (problems []string) {
	for _, m := range o.ConfigMaps {
		for _, name := range slices.Sorted(maps.Keys(m.Data)) {
			if found := secretText.FindString(m.Data[name]); found != "" {
				problems = append(problems, fmt.Sprintf("%s: %s holds a secret", m.Name, name))
			}
		}
	}
	for _, p := range o.pods() {
		for _, c := range p.containers() {
			for _, e := range c.Env {
				if secretKeys.MatchString(e.Name) && !strings.HasSuffix(e.Name, "_FILE") || secretText.MatchString(e.Value) || e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
					problems = append(problems, fmt.Sprintf("%s: %s is in the environment: give it as a file, %s_FILE", p.name, e.Name, e.Name))
				}
			}
		}
	}
	return problems
}
