package chart

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Check says all that is wrong with the objects, but for what the program is asked for.
func (o *Objects) Check() (problems []string) {
	return slices.Concat(o.checkPods(), o.checkSecrets(), o.checkSelectors(), o.checkReplicas(), o.checkServices(), o.checkIngresses(), o.checkPolicies(), o.checkHooks(), o.checkMonitoring())
}

func (o *Objects) matched(selector map[string]string) (found []pod) {
	for _, p := range o.pods() {
		if p.matches(selector) {
			found = append(found, p)
		}
	}
	return found
}

// checkSelectors says which Deployment does not select its own pods, and no others.
func (o *Objects) checkSelectors() (problems []string) {
	for _, d := range o.Deployments {
		found := o.matched(d.Spec.Selector.MatchLabels)
		if len(found) != 1 || found[0].name != d.Name {
			problems = append(problems, fmt.Sprintf("%s: its selector matches %d kinds of pods, want its own", d.Name, len(found)))
		}
		for _, s := range d.Spec.Template.Spec.TopologySpreadConstraints {
			if s.LabelSelector == nil || !slices.ContainsFunc(o.matched(s.LabelSelector.MatchLabels), func(p pod) bool { return p.name == d.Name }) {
				problems = append(problems, fmt.Sprintf("%s: it is spread by labels that it does not have", d.Name))
			}
		}
	}
	return problems
}

// checkReplicas says which budget or scaler does not fit its Deployment.
func (o *Objects) checkReplicas() (problems []string) {
	fewest := map[string]int32{}
	for _, d := range o.Deployments {
		if d.Spec.Replicas != nil {
			fewest[d.Name] = *d.Spec.Replicas
		}
	}
	for _, s := range o.Scalers {
		target := s.Spec.ScaleTargetRef
		at := slices.IndexFunc(o.pods(), func(p pod) bool { return p.serves && p.name == target.Name })
		switch {
		case target.Kind != "Deployment" || target.APIVersion != "apps/v1" || at < 0:
			problems = append(problems, fmt.Sprintf("autoscaler %s: there is no %s %s", s.Name, target.Kind, target.Name))
			continue
		case fewest[target.Name] != 0:
			problems = append(problems, fmt.Sprintf("autoscaler %s: the Deployment has replicas too, and each upgrade sets them", s.Name))
		case s.Spec.MinReplicas == nil || *s.Spec.MinReplicas > s.Spec.MaxReplicas:
			problems = append(problems, fmt.Sprintf("autoscaler %s: more at least than at most", s.Name))
			continue
		}
		fewest[target.Name] = *s.Spec.MinReplicas
	}
	for _, b := range o.Budgets {
		found := o.matched(b.Spec.Selector.MatchLabels)
		switch {
		case len(found) != 1 || !found[0].serves:
			problems = append(problems, fmt.Sprintf("budget %s: it is of %d kinds of pods, want one Deployment's", b.Name, len(found)))
		case b.Spec.MaxUnavailable == nil || b.Spec.MaxUnavailable.IntVal < 1 || b.Spec.MaxUnavailable.IntVal >= fewest[found[0].name]:
			problems = append(problems, fmt.Sprintf("budget %s: maxUnavailable must be 1 or more and less than the %d pods", b.Name, fewest[found[0].name]))
		}
	}
	return problems
}

func (o *Objects) checkServices() (problems []string) {
	for _, s := range o.Services {
		found := o.matched(s.Spec.Selector)
		if len(found) != 1 || !found[0].serves {
			problems = append(problems, fmt.Sprintf("service %s: its selector matches %d kinds of pods, want one Deployment's", s.Name, len(found)))
			continue
		}
		for _, port := range s.Spec.Ports {
			if !found[0].hasPort(port.TargetPort.StrVal) {
				problems = append(problems, fmt.Sprintf("service %s: %s has no port %q", s.Name, found[0].name, port.TargetPort.String()))
			}
			if s.Spec.Type != corev1.ServiceTypeClusterIP && s.Spec.Type != "" && port.TargetPort.StrVal == "admin" {
				problems = append(problems, fmt.Sprintf("service %s: the admin port is for inside the cluster", s.Name))
			}
		}
	}
	return problems
}

func (o *Objects) checkIngresses() (problems []string) {
	for _, i := range o.Ingresses {
		for _, rule := range i.Spec.Rules {
			if rule.Host == "" || rule.HTTP == nil {
				problems = append(problems, fmt.Sprintf("ingress %s: a rule without host or paths", i.Name))
				continue
			}
			for _, p := range rule.HTTP.Paths {
				problems = append(problems, o.checkBackend(i.Name, p)...)
			}
		}
	}
	return problems
}

func (o *Objects) checkBackend(name string, p networkingv1.HTTPIngressPath) []string {
	to := p.Backend.Service
	for _, s := range o.Services {
		for _, port := range s.Spec.Ports {
			if to == nil || s.Name != to.Name || port.Name != to.Port.Name {
				continue
			}
			if port.TargetPort.StrVal == "admin" && p.Path != "/console" {
				return []string{fmt.Sprintf("ingress %s: of the admin port only /console is for browsers, not %s", name, p.Path)}
			}
			return nil
		}
	}
	return []string{fmt.Sprintf("ingress %s: there is no such service and port: %+v", name, to)}
}

// checkPolicies says which pods are not kept, or reach or are reached by everybody.
func (o *Objects) checkPolicies() (problems []string) {
	if len(o.Policies) == 0 {
		return nil // turned off
	}
	kept := map[string]bool{}
	for _, n := range o.Policies {
		for _, p := range o.matched(n.Spec.PodSelector.MatchLabels) {
			kept[p.name] = true
			problems = append(problems, checkPolicy(n, p)...)
		}
	}
	for _, p := range o.pods() {
		if p.part != "test" && !kept[p.name] {
			problems = append(problems, p.name+": no network policy keeps it")
		}
	}
	return problems
}

func checkPolicy(n *networkingv1.NetworkPolicy, p pod) (problems []string) {
	say := func(format string, args ...any) {
		problems = append(problems, fmt.Sprintf("network policy %s: %s", n.Name, fmt.Sprintf(format, args...)))
	}
	if !slices.Equal(n.Spec.PolicyTypes, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}) {
		say("it is not for both ways")
	}
	for _, rule := range n.Spec.Ingress {
		if len(rule.Ports) == 0 {
			say("everything of the pod can be reached")
		}
		for _, port := range rule.Ports {
			if !p.hasPort(port.Port.String()) {
				say("%s has no port %q", p.name, port.Port.String())
			}
			if port.Port.String() == "admin" && len(rule.From) == 0 {
				say("everybody reaches the admin port")
			}
		}
	}
	for _, rule := range n.Spec.Egress {
		if len(rule.Ports) == 0 {
			say("%s reaches every port", p.name)
		}
	}
	return problems
}

// checkHooks says what a hook uses that is there only after it.
func (o *Objects) checkHooks() (problems []string) {
	const weight = "helm.sh/hook-weight"
	number := func(of map[string]string) int { n, _ := strconv.Atoi(of[weight]); return n }
	for _, j := range o.Jobs {
		for _, v := range j.Spec.Template.Spec.Volumes {
			if v.ConfigMap == nil {
				continue
			}
			for _, m := range o.ConfigMaps {
				if m.Name == v.ConfigMap.Name && (m.Annotations["helm.sh/hook"] != j.Annotations["helm.sh/hook"] || number(m.Annotations) >= number(j.Annotations)) {
					problems = append(problems, fmt.Sprintf("%s: it runs before its ConfigMap %s is there", j.Name, m.Name))
				}
			}
		}
	}
	return problems
}

// checkMonitoring checks what the Prometheus operator is given.
func (o *Objects) checkMonitoring() (problems []string) {
	for _, r := range o.Rules {
		text, err := yaml.Marshal(r.Object["spec"])
		if err != nil {
			return append(problems, err.Error())
		}
		if _, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler)); len(errs) > 0 {
			problems = append(problems, fmt.Sprintf("rules %s: %v", r.GetName(), errs))
		}
	}
	for _, m := range o.Monitors {
		problems = append(problems, o.checkMonitor(m)...)
	}
	return problems
}

// monitor is what a ServiceMonitor may say here.
type monitor struct {
	JobLabel string `yaml:"jobLabel"`
	Selector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}
	Endpoints []struct {
		Port, Path, Interval, Scheme string
		TLSConfig                    struct {
			CA         struct{ Secret struct{ Name, Key string } } `yaml:"ca"`
			ServerName string                                      `yaml:"serverName"`
		} `yaml:"tlsConfig"`
		Authorization struct{ Credentials struct{ Name, Key string } }
		Relabelings   []struct {
			SourceLabels []string `yaml:"sourceLabels"`
			TargetLabel  string   `yaml:"targetLabel"`
		}
	}
}

func (o *Objects) checkMonitor(u *unstructured.Unstructured) (problems []string) {
	say := func(format string, args ...any) {
		problems = append(problems, fmt.Sprintf("monitor %s: %s", u.GetName(), fmt.Sprintf(format, args...)))
	}
	text, err := yaml.Marshal(u.Object["spec"])
	if err != nil {
		return []string{err.Error()}
	}
	var m monitor
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&m); err != nil {
		say("%v", err)
	}
	seen := map[string]bool{}
	for _, s := range o.Services {
		if !selects(m.Selector.MatchLabels, s.Labels) {
			continue
		}
		for _, e := range m.Endpoints {
			if !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == e.Port }) {
				say("service %s has no port %q", s.Name, e.Port)
			}
			if slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool {
				return p.Name == e.Port && (p.AppProtocol == nil || *p.AppProtocol != e.Scheme)
			}) {
				say("it asks service %s by %s", s.Name, e.Scheme)
			}
			if e.Scheme == "https" && e.TLSConfig.ServerName == "" {
				say("it asks without the name of the certificate, which is for no address of a pod")
			}
			if e.Authorization.Credentials.Name == "" {
				say("it asks without a token")
			}
		}
		for _, p := range o.matched(s.Spec.Selector) {
			seen[p.name] = true
		}
	}
	for _, d := range o.Deployments {
		if !seen[d.Name] {
			say("it does not see %s", d.Name)
		}
	}
	return problems
}

func selects(selector, of map[string]string) bool {
	for name, want := range selector {
		if of[name] != want {
			return false
		}
	}
	return len(selector) > 0
}
