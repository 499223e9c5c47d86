package courier

import (
	"errors"
	"net"
	"time"
)

// maxAnswers is how many bytes of answers are read from a server for one mail.
const maxAnswers = 1 << 20

// limited is a connection whose reads and writes end within a time each, and
// that reads so much and no more. The library that speaks over it has no limits.
type limited struct {
	net.Conn
	each time.Duration
	left int
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("answers are too long")
	}
	if err := l.SetReadDeadline(time.Now().Add(l.each)); err != nil {
		return 0, err
	}
	n, err := l.Conn.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

func (l *limited) Write(p []byte) (int, error) {
	if err := l.SetWriteDeadline(time.Now().Add(l.each)); err != nil {
		return 0, err
	}
	return l.Conn.Write(p)
}

// isLoopback tells whether the other end is this machine.
func (l *limited) isLoopback() bool {
	addr, ok := l.RemoteAddr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}
