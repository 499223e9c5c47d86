// Welcome is a complete worker: it says hello to everybody who registers.
package main

import (
	"context"
	"fmt"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

func main() { workers.Main(worker()) }

func worker() *workers.Worker {
	w := workers.New("welcome")
	workers.On(w, func(_ context.Context, e workers.Event[events.IdentityCreated]) error {
		fmt.Println("welcome,", e.Data.IdentityID)
		return nil
	})
	return w
}
