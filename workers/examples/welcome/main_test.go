package main

import (
	"context"
	"fmt"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers/workertest"
)

func Example() {
	r := workertest.Run(context.Background(), worker(), workertest.Event[events.IdentityCreated]())
	fmt.Println(r.Outcome)
	// Output:
	// welcome, 7f3f8f0e-5f0b-4f7e-9a53-2a2f0c7f7f10
	// done
}
