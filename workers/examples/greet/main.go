// Greet writes to the person: events hold no address, so it asks for the
// identity. Its declaration lists the traits email and name.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/usher-auth/usher/events"
	"github.com/usher-auth/usher/workers"
)

func main() { workers.Main(worker(os.Stdout)) }

func worker(mail io.Writer) *workers.Worker {
	w := workers.New("greet")
	workers.On(w, func(ctx context.Context, _ workers.Event[events.IdentityCreated]) error {
		person, err := workers.Identity(ctx)
		if errors.Is(err, workers.ErrGone) {
			return nil // nobody to write to any more
		}
		if err != nil {
			return err // comes again
		}
		var email, name string
		if json.Unmarshal(person.Traits["email"], &email) != nil || email == "" {
			return workers.Permanent(errors.New("the person has no address"))
		}
		_ = json.Unmarshal(person.Traits["name"], &name)
		_, err = fmt.Fprintf(mail, "To: %s\nHello %s!\n", email, name)
		return err
	})
	return w
}
