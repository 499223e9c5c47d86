// Package chart checks the Helm chart: lint, rendered with several values, every
// object decoded strictly into the types of Kubernetes, and what neither of those
// sees: that the objects fit together, keep no secret where none belongs, take from
// their containers what these do not need, and call the program as it is.
//
//	values + templates → lint → render → decode → check each, and against the others
package chart

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Render gives the objects of a release of the chart with some values, and its notes.
// Values that the schema does not know, an undefined value in a template and a field that
// Kubernetes does not know are errors.
func Render(c *chart.Chart, release string, values map[string]any) (*Objects, error) {
	options := chartutil.ReleaseOptions{Name: release, Namespace: "id", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, values, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{Strict: true}.Render(c, all)
	if err != nil {
		return nil, err
	}
	o := &Objects{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Base(name) == "NOTES.txt" {
			o.Notes = files[name]
			continue
		}
		if err := o.decode(files[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return o, nil
}

// Objects are what a release is made of.
type Objects struct {
	Notes       string
	Deployments []*appsv1.Deployment
	Jobs        []*batchv1.Job
	Pods        []*corev1.Pod
	Services    []*corev1.Service
	ConfigMaps  []*corev1.ConfigMap
	Scalers     []*autoscalingv2.HorizontalPodAutoscaler
	Budgets     []*policyv1.PodDisruptionBudget
	Policies    []*networkingv1.NetworkPolicy
	Ingresses   []*networkingv1.Ingress
	// Monitors and Rules are of the Prometheus operator, whose types are not Kubernetes'.
	Monitors, Rules []*unstructured.Unstructured
}

var strict = func() runtime.Decoder {
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(known); err != nil {
			panic(err)
		}
	}
	return serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
}()

func (o *Objects) decode(text string) error {
	documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		doc, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(withoutComments(doc))) == 0 {
			continue
		}
		if err := o.add(doc); err != nil {
			return fmt.Errorf("%w in\n%s", err, doc)
		}
	}
}

func (o *Objects) add(doc []byte) error {
	if bytes.Contains(doc, []byte("\napiVersion: monitoring.coreos.com/v1\n")) || bytes.HasPrefix(doc, []byte("apiVersion: monitoring.coreos.com/v1\n")) {
		return o.addOperators(doc)
	}
	decoded, _, err := strict.Decode(doc, nil, nil)
	if err != nil {
		return err
	}
	switch one := decoded.(type) {
	case *appsv1.Deployment:
		o.Deployments = append(o.Deployments, one)
	case *batchv1.Job:
		o.Jobs = append(o.Jobs, one)
	case *corev1.Pod:
		o.Pods = append(o.Pods, one)
	case *corev1.Service:
		o.Services = append(o.Services, one)
	case *corev1.ConfigMap:
		o.ConfigMaps = append(o.ConfigMaps, one)
	case *autoscalingv2.HorizontalPodAutoscaler:
		o.Scalers = append(o.Scalers, one)
	case *policyv1.PodDisruptionBudget:
		o.Budgets = append(o.Budgets, one)
	case *networkingv1.NetworkPolicy:
		o.Policies = append(o.Policies, one)
	case *networkingv1.Ingress:
		o.Ingresses = append(o.Ingresses, one)
	default:
		return fmt.Errorf("no check knows %T: add one", one)
	}
	return nil
}

func (o *Objects) addOperators(doc []byte) error {
	one := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(doc, &one.Object); err != nil {
		return err
	}
	switch one.GetKind() {
	case "ServiceMonitor":
		o.Monitors = append(o.Monitors, one)
	case "PrometheusRule":
		o.Rules = append(o.Rules, one)
	default:
		return fmt.Errorf("no check knows %s: add one", one.GetKind())
	}
	return nil
}

// withoutComments drops the lines that are only a comment.
func withoutComments(doc []byte) []byte {
	var left []string
	for line := range strings.Lines(string(doc)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") && strings.TrimSpace(line) != "---" {
			left = append(left, line)
		}
	}
	return []byte(strings.Join(left, ""))
}
