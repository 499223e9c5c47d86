// Age is asked before a registration is stored, and refuses whoever is too young.
package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/usher-auth/usher/workers"
)

func main() { workers.Main(worker()) }

func worker() *workers.Answering {
	return workers.Answer("age", func(_ context.Context, q workers.Question) (workers.Reply, error) {
		var traits struct {
			Age int `json:"age"`
		}
		if q.Identity == nil || json.Unmarshal(q.Identity.Traits, &traits) != nil {
			return workers.Reply{}, errors.New("the question names no age") // no answer: the declaration decides
		}
		if traits.Age < 16 {
			return workers.Refuse("#/traits/age", 4000042, "You must be 16 to register."), nil
		}
		return workers.Reply{}, nil // goes on
	})
}
