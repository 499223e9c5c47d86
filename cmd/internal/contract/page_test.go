package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The page that is in the repository is the one of the document that is there,
// and the same document always gives the same page.
func TestPageIsCurrent(t *testing.T) {
	t.Parallel()
	tree := os.DirFS("../../..")
	got, err := page(tree)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := page(tree); err != nil || !bytes.Equal(again, got) {
		t.Errorf("page of the same document = another one, %v", err)
	}
	want, err := os.ReadFile("../../../schemas/asyncapi.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("schemas/asyncapi.md is not the page of schemas/asyncapi.yaml: make generate")
	}
}

// Every subject has its place on the page.
func TestPageShowsEverySubject(t *testing.T) {
	t.Parallel()
	tree := os.DirFS("../../..")
	d, err := readDocument(tree)
	if err != nil {
		t.Fatal(err)
	}
	text, err := page(tree)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range d.Channels.all() {
		if c.Address != "" && strings.Count(string(text), "Subject `"+c.Address+"`") != 1 {
			t.Errorf("the page does not show channel %s, %s, once", name, c.Address)
		}
	}
}
