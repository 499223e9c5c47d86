// Package jsonnet runs what an operator wrote in Jsonnet, bodies of web_hooks and
// mappers of claims, bounded in time and stack and without imports.
package jsonnet

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
	// maxStack bounds how deep a program may recurse.
	maxStack = 500
	// maxRun bounds how long a program may run, maxResult what it may produce.
	maxRun    = time.Second
	maxResult = 1 << 20
)

// Why a program gives no result.
var (
	// ErrCancelled: the program said error "cancel".
	ErrCancelled = errors.New("template cancelled the call")
	errSlow      = fmt.Errorf("no result within %s", maxRun)
	errLarge     = fmt.Errorf("result is over %d bytes", maxResult)
)

// Program is parsed Jsonnet, safe for concurrent use.
//
// The interpreter cannot be stopped from outside, so every function of a
// program looks at the clock before it runs: without functions there is no
// loop. What one call of the standard library builds (std.repeat) is not
// bounded; programs are the operator's.
type Program struct {
	name    string
	program ast.Node
	input   ast.Node // what the program's input is bound to
}

// Names of the native functions that programs are bound to.
const (
	nativeClock = "clock"
	nativeInput = "input"
)

// Compile parses source, in which imports are refused. Errors begin with name.
func Compile(name, source string) (*Program, error) {
	program, err := jsonnet.SnippetToAST(name, source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	clock, err := jsonnet.SnippetToAST(nativeClock, `std.native("`+nativeClock+`")()`)
	if err != nil {
		return nil, err
	}
	input, err := jsonnet.SnippetToAST(nativeInput, `std.native("`+nativeInput+`")()`)
	if err != nil {
		return nil, err
	}
	reachStd(clock)
	if err := addClock(program, clock); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Program{name: name, program: program, input: input}, nil
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
		return fmt.Errorf("line %d: import is not available", n.Loc().Begin.Line)
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

// hiddenStd is the standard library under the name that a program cannot shadow.
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

// Call gives the JSON that the program makes when its parameter is v, or
// [ErrCancelled]. Other errors name a line and show nothing of v.
func (p *Program) Call(parameter string, v any) ([]byte, error) {
	return p.run(v, func(vm *jsonnet.VM) { vm.TLANode(parameter, p.input) })
}

// Evaluate is Call for a program that reads v by std.extVar(variable).
func (p *Program) Evaluate(variable string, v any) ([]byte, error) {
	return p.run(v, func(vm *jsonnet.VM) { vm.ExtNode(variable, p.input) })
}

func (p *Program) run(v any, bind func(*jsonnet.VM)) ([]byte, error) {
	tree, err := plain(v)
	if err != nil {
		return nil, fmt.Errorf("%s: input: %w", p.name, err)
	}
	slow, deadline := false, time.Now().Add(maxRun)
	vm := jsonnet.MakeVM() // costs 1 % of an evaluation: not worth a pool
	vm.MaxStack = maxStack
	vm.Importer(&jsonnet.MemoryImporter{})
	vm.SetTraceOut(io.Discard)
	bind(vm)
	vm.NativeFunction(&jsonnet.NativeFunction{Name: nativeInput, Func: func([]any) (any, error) { return tree, nil }})
	vm.NativeFunction(&jsonnet.NativeFunction{Name: nativeClock, Func: func([]any) (any, error) {
		if slow = slow || time.Now().After(deadline); slow {
			return nil, errSlow
		}
		return true, nil
	}})

	text, err := vm.Evaluate(p.program)
	if slow {
		err = errSlow
	} else if err != nil {
		err = p.failure(err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	var result bytes.Buffer
	if err := json.Compact(&result, []byte(text)); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	if result.Len() > maxResult {
		return nil, fmt.Errorf("%s: %w", p.name, errLarge)
	}
	return result.Bytes(), nil
}

// failure keeps what a program's message may hold of a person out of the error.
func (p *Program) failure(err error) error {
	var failed jsonnet.RuntimeError
	if !errors.As(err, &failed) {
		return errors.New("evaluation broke down")
	}
	if failed.Msg == "cancel" {
		return ErrCancelled
	}
	for _, frame := range failed.StackTrace {
		if frame.Loc.FileName == p.name && frame.Loc.Begin.Line > 0 {
			return fmt.Errorf("error in line %d", frame.Loc.Begin.Line)
		}
	}
	return errors.New("error in its result")
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
