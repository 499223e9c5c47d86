package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/go-jsonnet"
	"github.com/google/go-jsonnet/ast"
	"github.com/google/go-jsonnet/toolutils"
)

const (
	// maxStack bounds how deep a body template may recurse.
	maxStack = 500
	// maxRender bounds how long a template may run, maxBody what it may produce.
	maxRender = time.Second
	maxBody   = 1 << 20
)

// Why a body template gives no body.
var (
	// errCancelled: the template said error "cancel".
	errCancelled = errors.New("body template cancelled the call")
	errSlow      = fmt.Errorf("body template: no result within %s", maxRender)
	errLarge     = fmt.Errorf("body template: result is over %d bytes", maxBody)
)

// template is a parsed body, safe for concurrent use.
//
// The interpreter cannot be stopped from outside, so every function of a
// template looks at the clock before it runs: without functions there is no
// loop. What one call of the standard library builds (std.repeat) is not
// bounded; templates are the operator's.
type template struct {
	program ast.Node
	context ast.Node // what the parameter ctx is bound to
}

// Names of the native functions that templates are bound to.
const (
	nativeClock   = "clock"
	nativeContext = "context"
)

// compile parses the Jsonnet of a body, in which imports are refused.
func compile(source string) (*template, error) {
	program, err := jsonnet.SnippetToAST("body", source)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	clock, err := jsonnet.SnippetToAST(nativeClock, `std.native("`+nativeClock+`")()`)
	if err != nil {
		return nil, err
	}
	context, err := jsonnet.SnippetToAST(nativeContext, `std.native("`+nativeContext+`")()`)
	if err != nil {
		return nil, err
	}
	reachStd(clock)
	if err := addClock(program, clock); err != nil {
		return nil, err
	}
	return &template{program: program, context: context}, nil
}

// addClock makes every function below n begin with clock.
func addClock(n, clock ast.Node) error {
	for _, child := range toolutils.Children(n) {
		if err := addClock(child, clock); err != nil {
			return err
		}
	}
	n.SetFreeVariables(append(n.FreeVariables(), hiddenStd))
	switch n := n.(type) {
	case *ast.Import, *ast.ImportStr, *ast.ImportBin:
		return fmt.Errorf("body: line %d: import is not available", n.Loc().Begin.Line)
	case *ast.Function:
		n.Body = &ast.Conditional{
			NodeBase:    ast.NewNodeBase(*n.Body.Loc(), nil, n.Body.FreeVariables()),
			Cond:        clock,
			BranchTrue:  n.Body,
			BranchFalse: &ast.LiteralNull{},
		}
	}
	return nil
}

// hiddenStd is the standard library under the name that a template cannot shadow.
const hiddenStd = "$std"

// reachStd renames the standard library in n to hiddenStd.
func reachStd(n ast.Node) {
	for _, child := range toolutils.Children(n) {
		reachStd(child)
	}
	n.SetFreeVariables(ast.Identifiers{hiddenStd})
	if v, ok := n.(*ast.Var); ok {
		v.Id = hiddenStd
	}
}

// render gives the JSON that the template makes of ctx, or errCancelled. Other
// errors name a line and show nothing of ctx.
func (t *template) render(ctx any) ([]byte, error) {
	tree, err := plain(ctx)
	if err != nil {
		return nil, fmt.Errorf("body context: %w", err)
	}
	slow, deadline := false, time.Now().Add(maxRender)
	vm := jsonnet.MakeVM() // costs 1 % of an evaluation: not worth a pool
	vm.MaxStack = maxStack
	vm.Importer(&jsonnet.MemoryImporter{})
	vm.SetTraceOut(io.Discard)
	vm.TLANode("ctx", t.context)
	vm.NativeFunction(&jsonnet.NativeFunction{Name: nativeContext, Func: func([]any) (any, error) { return tree, nil }})
	vm.NativeFunction(&jsonnet.NativeFunction{Name: nativeClock, Func: func([]any) (any, error) {
		if slow = slow || time.Now().After(deadline); slow {
			return nil, errSlow
		}
		return true, nil
	}})

	text, err := vm.Evaluate(t.program)
	switch {
	case slow:
		return nil, errSlow
	case err != nil:
		return nil, templateError(err)
	}
	var body bytes.Buffer
	if err := json.Compact(&body, []byte(text)); err != nil {
		return nil, fmt.Errorf("body template: %w", err)
	}
	if body.Len() > maxBody {
		return nil, errLarge
	}
	return body.Bytes(), nil
}

// templateError keeps what a template's message may hold of a person out of
// the error.
func templateError(err error) error {
	var failed jsonnet.RuntimeError
	if !errors.As(err, &failed) {
		return errors.New("body template: evaluation broke down")
	}
	if failed.Msg == "cancel" {
		return errCancelled
	}
	for _, frame := range failed.StackTrace {
		if frame.Loc.FileName == "body" && frame.Loc.Begin.Line > 0 {
			return fmt.Errorf("body template: error in line %d", frame.Loc.Begin.Line)
		}
	}
	return errors.New("body template: error in its result")
}

// plain turns v into maps, slices, strings, numbers and booleans.
func plain(v any) (any, error) {
	encoded, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var tree any
	err = json.Unmarshal(encoded, &tree)
	return tree, err
}
