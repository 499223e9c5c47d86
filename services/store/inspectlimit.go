package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"
)

// mostInspected is how much an inspection reads from all of its connections to
// PostgreSQL: many times what it asks for.
const mostInspected = 16 << 20

// mostAtOnce is how much is read at once: the driver makes room for as much as a server
// announces, and a kernel may prepare all of it.
const mostAtOnce = 64 << 10

// longestText is how much of what a server says an error keeps.
const longestText = 1000

// ErrTooMuch says that a server has sent more than an inspection reads: it is no
// PostgreSQL, or a broken one.
var ErrTooMuch = errors.New("it sends more than PostgreSQL does for what was asked")

// budget is how much may still be read. The driver keeps a message, such as an error
// that never ends, until it has all of it.
type budget struct{ left atomic.Int64 }

func newBudget() *budget {
	b := &budget{}
	b.left.Store(mostInspected)
	return b
}

// spent tells whether nothing more is read; a nil budget is never.
func (b *budget) spent() bool { return b != nil && b.left.Load() <= 0 }

// bound gives a connection on which no more is read than is left.
func (b *budget) bound(conn net.Conn) net.Conn { return bounded{conn, b} }

type bounded struct {
	net.Conn
	budget *budget
}

// Read reads, unless the budget is spent.
func (b bounded) Read(p []byte) (int, error) {
	if b.budget.spent() {
		return 0, ErrTooMuch
	}
	n, err := b.Conn.Read(p[:min(len(p), mostAtOnce)])
	b.budget.left.Add(-int64(n))
	return n, err
}

// guard turns a panic of the driver into an error: it believes what a server says of
// lengths.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("it does not answer as PostgreSQL does: %v", p)
	}
}

// inspected is a database that may answer anything.
type inspected struct{ *sqlx.DB }

// PingContext is that of [sql.DB].
func (d inspected) PingContext(ctx context.Context) (err error) {
	defer guard(&err)
	return d.DB.PingContext(ctx)
}

// GetContext is that of [sqlx.DB].
func (d inspected) GetContext(ctx context.Context, into any, query string, args ...any) (err error) {
	defer guard(&err)
	return d.DB.GetContext(ctx, into, query, args...)
}

// SelectContext is that of [sqlx.DB].
func (d inspected) SelectContext(ctx context.Context, into any, query string, args ...any) (err error) {
	defer guard(&err)
	return d.DB.SelectContext(ctx, into, query, args...)
}

// inspector is a connector that no server can end the process by.
type inspector struct{ *connector }

// Connect implements [driver.Connector].
func (i inspector) Connect(ctx context.Context) (conn driver.Conn, err error) {
	defer guard(&err)
	return i.connector.Connect(ctx)
}

// cut shortens what a server says.
func cut(text string) string {
	if len(text) <= longestText {
		return text
	}
	end := longestText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
