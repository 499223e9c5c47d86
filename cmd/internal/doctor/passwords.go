package doctor

import (
	"context"
	"errors"

	"github.com/usher-auth/usher/services/breached"
)

const checkBreached = "passwords.breached"

var passwordLooks = []look{{[]Check{{checkBreached, "the file of passwords from breaches is whole"}}, (*Doctor).lookBreached, false}}

func (d *Doctor) lookBreached(ctx context.Context) (f findings) {
	path := d.Config.SelfService.Methods.Password.Config.Breached.Path
	if path == "" {
		f.green(checkBreached, "no file is configured: the best known passwords alone are refused")
		return f
	}
	const mend = "make it again with 'usher passwords build'; servers that run go on with the one that they have open"
	set, err := breached.Peek(path)
	if err == nil {
		err = set.Verify(ctx, nil)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		f.green(checkBreached, "%s: %d passwords; it is too large to be read whole here: 'usher passwords show' does", path, set.Info().Passwords)
	case err != nil:
		f.add(Red, checkBreached, oneLine(err), mend)
	default:
		f.green(checkBreached, "%s: %d passwords", path, set.Info().Passwords)
	}
	return f
}
