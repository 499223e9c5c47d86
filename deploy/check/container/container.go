// Package container checks deploy/Containerfile: with BuildKit's parser and
// linter, and for what an image of ours has to be: pinned, static, not root,
// with nothing in it but the program, which says itself whether it is well.
package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// Check gives all that is wrong with the text of a container file, or nil.
func Check(text []byte) error {
	file, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return err
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, text string, at []parser.Range) {}})
	stages, args, err := instructions.Parse(file.AST, lint)
	if err != nil {
		return err
	}
	problems := []error{lints(text)}
	problems = append(problems, pinned(stages, args)...)
	problems = append(problems, image(stages)...)
	for _, stage := range stages {
		problems = append(problems, notRoot(stage, stage.Name == stages[len(stages)-1].Name)...)
		problems = append(problems, static(stage)...)
	}
	return errors.Join(problems...)
}

// lints is what BuildKit itself warns of.
func lints(text []byte) error {
	source := llb.NewSourceMap(nil, "Containerfile", "dockerfile", text)
	source.Definition = &llb.Definition{} // else the linter dereferences nil
	platform := ocispecs.Platform{OS: "linux", Architecture: "amd64"}
	results, err := dockerfile2llb.DockerfileLint(context.Background(), text, dockerfile2llb.ConvertOpt{
		Config:         dockerui.Config{BuildPlatforms: []ocispecs.Platform{platform}},
		TargetPlatform: &platform,
		SourceMap:      source,
		MetaResolver:   nowhere{},
	})
	if err != nil {
		return err
	}
	var problems []error
	if results.Error != nil {
		problems = append(problems, errors.New(results.Error.Message))
	}
	for _, w := range results.Warnings {
		problems = append(problems, fmt.Errorf("line %d: %s: %s", line(w.Location), w.RuleName, w.Detail))
	}
	return errors.Join(problems...)
}

func line(l *pb.Location) int32 {
	if l == nil || len(l.Ranges) == 0 {
		return 0
	}
	return l.Ranges[0].Start.Line
}

// nowhere answers for every image that it is an empty Linux one: nothing is fetched.
type nowhere struct{}

func (nowhere) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config, err := json.Marshal(ocispecs.Image{Platform: ocispecs.Platform{OS: "linux", Architecture: "amd64"}})
	return ref, digest.FromBytes(config), config, err
}

// exact is a tag of three numbers at least two of which are there, with or without a digest.
var exact = regexp.MustCompile(`^[^:@]+:v?\d+\.\d+(\.\d+)?[\w.-]*(@sha256:[0-9a-f]{64})?$`)

// pinned wants each image to be named by an exact version.
func pinned(stages []instructions.Stage, args []instructions.ArgCommand) (problems []error) {
	values := map[string]string{}
	for _, a := range args {
		for _, pair := range a.Args {
			if pair.Value != nil {
				values[pair.Key] = *pair.Value
			}
		}
	}
	known := []string{"scratch"}
	for _, stage := range stages {
		name := stage.BaseName
		for key, value := range values {
			name = strings.NewReplacer("${"+key+"}", value, "$"+key, value).Replace(name)
		}
		if !slices.Contains(known, name) && !exact.MatchString(name) {
			problems = append(problems, fmt.Errorf("FROM %s: name an exact version, such as golang:1.26.8-bookworm", name))
		}
		known = append(known, stage.Name)
	}
	return problems
}

// image checks the last stage, which is the image.
func image(stages []instructions.Stage) (problems []error) {
	stage := stages[len(stages)-1]
	if stage.BaseName != "scratch" {
		problems = append(problems, fmt.Errorf("the image is made FROM %s: want scratch, with the program alone", stage.BaseName))
	}
	var health, entry, volume, label bool
	for _, command := range stage.Commands {
		switch c := command.(type) {
		case *instructions.HealthCheckCommand:
			// A shell is not there: the program itself has to answer.
			health = slices.Equal(c.Health.Test, []string{"CMD", "/usr/bin/usher", "health"})
		case *instructions.EntrypointCommand:
			entry = !c.PrependShell
		case *instructions.VolumeCommand:
			volume = slices.Contains(c.Volumes, "/var/lib/usher")
		case *instructions.LabelCommand:
			label = true
		case *instructions.CopyCommand:
			// BuildKit would take it for the name of an image, and fetch that.
			if !slices.ContainsFunc(stages, func(s instructions.Stage) bool { return s.Name == c.From }) {
				problems = append(problems, fmt.Errorf("COPY --from=%s: there is no such stage", c.From))
			}
		case *instructions.RunCommand:
			problems = append(problems, errors.New("RUN in the image: it has no shell"))
		case *instructions.AddCommand:
			problems = append(problems, errors.New("ADD: COPY says what happens"))
		}
	}
	for _, want := range []struct {
		has  bool
		what string
	}{
		{health, `HEALTHCHECK CMD ["/usr/bin/usher", "health"]`},
		{entry, "ENTRYPOINT as a list"},
		{volume, "VOLUME /var/lib/usher, the only place that is written to"},
		{label, "LABEL"},
	} {
		if !want.has {
			problems = append(problems, errors.New("the image lacks "+want.what))
		}
	}
	return problems
}

// notRoot wants what runs in the end to have a numeric user: Kubernetes cannot
// know of a name whether it is root.
func notRoot(stage instructions.Stage, last bool) []error {
	user, runs := "", last
	for _, command := range stage.Commands {
		switch c := command.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.EntrypointCommand:
			runs = true
		}
	}
	if runs && !regexp.MustCompile(`^[1-9]\d{3,}:[1-9]\d{3,}$`).MatchString(user) {
		return []error{fmt.Errorf("USER %q: want numbers of a user and a group that are not root's, such as 65532:65532", user)}
	}
	return nil
}

// static wants each go build to make a program that needs no other file.
func static(stage instructions.Stage) (problems []error) {
	for _, run := range Runs(stage) {
		if !strings.Contains(run, "go build") {
			continue
		}
		for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "timetzdata"} {
			if !strings.Contains(run, want) {
				problems = append(problems, fmt.Errorf("go build without %s", want))
			}
		}
	}
	return problems
}

// Runs are the shell commands of a stage.
func Runs(stage instructions.Stage) (lines []string) {
	for _, command := range stage.Commands {
		if run, ok := command.(*instructions.RunCommand); ok {
			lines = append(lines, strings.Join(run.CmdLine, " "))
		}
	}
	return lines
}
