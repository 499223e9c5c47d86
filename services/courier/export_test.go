package courier

import (
	"context"
	"net"
)

// SetDial makes s connect by another function.
func (s *SMTP) SetDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	s.dial = dial
}
