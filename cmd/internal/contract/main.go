// Contract looks after what Usher promises on the bus:
//
//	contract page          writes schemas/asyncapi.md from schemas/asyncapi.yaml
//	contract compare OLD   says what of the promises in the tree OLD is broken in this one
//
// It runs in the root of the repository, for "make generate" and "make check".
package main

import (
	"fmt"
	"os"
)

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 1 && args[0] == "page":
		err = writePage()
	case len(args) == 2 && args[0] == "compare":
		err = compareTrees(args[1])
	default:
		err = fmt.Errorf("usage: contract page | contract compare OLD")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writePage() error {
	text, err := page(os.DirFS("."))
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	return os.WriteFile("schemas/asyncapi.md", text, 0o644)
}

func compareTrees(former string) error {
	broken, err := compare(os.DirFS(former), os.DirFS("."))
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	for _, b := range broken {
		fmt.Println(b)
	}
	if len(broken) > 0 {
		return fmt.Errorf("%d promises are broken: what has to change is a new version, with a dataschema and a subject of its own, beside the old one", len(broken))
	}
	return nil
}
