package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"
)

func TestDSNNamesHosts(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://u:p@one/db":                                   "one:5432",
		"postgres://u:p@one:1/db":                                 "one:1",
		"postgres://u:p@one:1,two:2/db":                           "one:1 two:2",
		"postgresql://u:p@one:1,two/db":                           "one:1 two:5432",
		"postgres://u:p@one,two/db?port=1,2":                      "one:1 two:2",
		"postgres://one,two,three/db":                             "one:5432 two:5432 three:5432",
		"postgres://u:p@[::1]:1,[::2]/db":                         "::1:1 ::2:5432",
		"postgres:///db?host=one,two&port=1,2":                    "one:1 two:2",
		"postgres://u:a%40b@one:1,two:2?sslmode=disable":          "one:1 two:2",
		"postgres://u:p@one:1,two:2/db?max_conns=9&sslmode=allow": "one:1 two:2",
	} {
		config, _, err := parseDSN(dsn)
		if err != nil {
			t.Errorf("parseDSN(%q): %v", dsn, err)
			continue
		}
		var got []string
		for _, h := range newServers(config, nil).hosts() {
			got = append(got, fmt.Sprintf("%s:%d", h.Host, h.Port))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("hosts of %q = %v, want %s", dsn, got, want)
		}
		if config.TargetSessionAttrs != pq.TargetSessionAttrsReadWrite {
			t.Errorf("target_session_attrs of %q = %q, want read-write", dsn, config.TargetSessionAttrs)
		}
		if all := config.ConnectTimeout * time.Duration(len(got)); all > defaultConnect {
			t.Errorf("connect_timeout of %q: %v for all hosts, want %v at most", dsn, all, defaultConnect)
		}
	}
}

func TestDSNIsRefused(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://u:hunter2@db/x?max_con=3":                          "unknown parameter max_con; did you mean max_conns?",
		"postgres://u:hunter2@db/x?sslrotcert=f":                       "did you mean sslrootcert?",
		"postgres://u:hunter2@db/x?database=y":                         "postgres://host/name",
		"postgres://u:hunter2@db/x?hunting=1":                          "unknown parameter hunting",
		"postgres://u:hunter2@db/x?load_balance_hosts=random":          "leave it out",
		"postgres://u:hunter2@db/x?target_session_attrs=standby":       "usher writes",
		"postgres://u:hunter2@db/x?target_session_attrs=primry":        "target_session_attrs",
		"postgres://u:hunter2@db:port/x":                               "invalid port",
		"postgres://u:hunter2@a:1,b:2/x?port=3,4,5":                    "",
		"postgres://u:hunter2@a,b/x?port=3,4,5":                        "could not match 3 port numbers to 2 hosts",
		"postgres://u:hunter2@db/x?max_conns=2":                        "at least 3",
		"postgres://u:hunter2@a,b/x?target_session_attrs=any":          "of several hosts one takes writes",
		"postgres://u:hunter2@db/x?target_session_attrs=any":           "",
		"postgres://u:hunter2@a,b/x?target_session_attrs=primary":      "",
		"postgres://u:hunter2@db/x?statement_timeout=5s":               "statement_timeout",
		"postgres://u:hunter2@db/x?statement_timeout=-1":               "statement_timeout=-1: want 0 or more",
		"postgres://u:hunter2@db/x?statement_timeout=0":                "",
		"postgres://u:hunter2@db/x?max_idle_conns=-1":                  "max_idle_conns=-1: want 0 or more",
		"postgres://u:hunter2@db/x?max_conn_lifetime=-1s":              "max_conn_lifetime=-1s: want 0 or more",
		"postgres://u:hunter2@db/x?max_conn_idle_time=-1m":             "max_conn_idle_time=-1m: want 0 or more",
		"postgres://u:hunter2@db/x?sslmode=full":                       "verify-full",
		"postgres://u:hunter2@db/x?sslmode=require&sslrootcert=system": "verify-full",
		"postgres://u:hunter2/@db/x":                                   "%XX",
		"postgres://u:?hunter2@db/x":                                   "%3F",
		"postgres://u:123?hunter2@db/x":                                "%3F",
		"postgres://u:%zzhunter2@db/x":                                 "%25",
		"postgres://u:12/hunter2@db/x":                                 "%2F",
		"postgres://u:12#hunter2@db/x":                                 "%23",
		"postgres://u:a@b/hunter2@db/x":                                "%2F",
		"postgres://u:12?max_conns=hunter2@db/x":                       "%3F",
		"postgres://u:12?sslmode=hunter2@db/x":                         "%3F",
		"postgres://db/x?user=u&password=hunter2#5":                    "%23",
		"postgres://db/x?user=u&password=hunter2":                      "password is no parameter",
		"postgres://db/x?user=me@corp&password=hunter2":                "password is no parameter",
		"postgres://a:1,b:2/x?user=u&%70assword=hunter2":               "password is no parameter",
		"postgres://u:12?password=hunter2@db/x":                        "password is no parameter",
		"postgres://db/x?user=me@corp":                                 "",
	} {
		_, _, err := parseDSN(dsn)
		switch {
		case want == "" && err != nil:
			t.Errorf("parseDSN(%q): %v", dsn, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("parseDSN(%q): %v, want an error with %q", dsn, err, want)
		case err != nil && strings.Contains(err.Error(), "hunter2"), err != nil && strings.Contains(err.Error(), "zz"):
			t.Errorf("parseDSN(%q) shows the password: %v", dsn, err)
		}
	}
}

// What a DSN limits is of a process, which has two pools.
func TestPoolsShareTheLimits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ conns, idle, durable, relaxed, durableIdle, relaxedIdle int }{
		{3, 0, 2, 1, 0, 0},
		{16, 0, 12, 4, 0, 0},
		{16, 8, 12, 4, 6, 2},
		{16, 16, 12, 4, 12, 4},
		{16, 2, 12, 4, 1, 1},
		{16, 1, 12, 4, 1, 1},
	} {
		d, r := limits{conns: tt.conns, idle: tt.idle}.shares()
		if d.conns != tt.durable || r.conns != tt.relaxed || d.idle != tt.durableIdle || r.idle != tt.relaxedIdle {
			t.Errorf("shares of %d, %d idle = %d, %d idle and %d, %d idle; want %+v", tt.conns, tt.idle, d.conns, d.idle, r.conns, r.idle, tt)
		}
	}
}
