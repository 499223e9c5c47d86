package e2e_test

import (
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq" // tests may look into the database
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// ticks of /proc/<pid>/stat are hundredths of a second on Linux.
const tick = 10 * time.Millisecond

// procCPU is the CPU time of a process; with children, also of those that it waited for.
func procCPU(pid int, children bool) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	var sum int
	for i := 11; i <= 14; i++ { // utime, stime, cutime, cstime
		if i > 12 && !children {
			break
		}
		n, _ := strconv.Atoi(fields[i])
		sum += n
	}
	return time.Duration(sum) * tick
}

// cpu is the CPU time of all processes of the system but the database.
func (s *system) cpu() (sum time.Duration) {
	for _, p := range s.processes {
		if p.cmd != nil {
			sum += procCPU(p.cmd.Process.Pid, false)
		}
	}
	return sum
}

// databaseCPU is the CPU time of the whole PostgreSQL server.
func (s *system) databaseCPU() time.Duration {
	if s.dsn == "" {
		return 0
	}
	var dir string
	if err := s.query(`SHOW data_directory`, &dir); err != nil {
		s.t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(data), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		s.t.Fatal(err)
	}
	sum := procCPU(postmaster, true)
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", postmaster, postmaster))
	for field := range strings.FieldsSeq(string(children)) {
		pid, _ := strconv.Atoi(field)
		sum += procCPU(pid, false)
	}
	return sum
}

// query reads one value from the system's PostgreSQL.
func (s *system) query(text string, into any) error {
	db, err := sql.Open("postgres", s.dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.QueryRow(text).Scan(into)
}

// dump is the content of all tables of a database, as text.
func dump(t *testing.T, dsn string) []byte {
	t.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT query_to_xml(format('SELECT * FROM %I', tablename), true, false, '')::text
		FROM pg_tables WHERE schemaname = 'public'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all strings.Builder
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all.WriteString(text)
	}
	if rows.Err() != nil || all.Len() < 1000 {
		t.Fatalf("dump of the database: %d bytes, %v", all.Len(), rows.Err())
	}
	return []byte(all.String())
}

// statements counts the transactions of the database until now.
func (b *bench) statements(dsn string) (n int) {
	s := system{t: b.t, dsn: dsn}
	if err := s.query(`SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()`, &n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// bareCommits is how many durable one-row commits a second the database does.
func (b *bench) bareCommits(dsn string, inFlight int) float64 {
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxIdleConns(inFlight)
	if _, err := db.Exec(`CREATE TABLE IF NOT EXISTS bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text)`); err != nil {
		b.t.Fatal(err)
	}
	const each = 500
	began := time.Now()
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for range each {
				if _, err := db.Exec(`INSERT INTO bare (text) VALUES ('one row')`); err != nil {
					b.t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(each*inFlight) / time.Since(began).Seconds()
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// hashCPU is the CPU time of one bcrypt hash, measured on all cores at once.
func hashCPU(cost int) time.Duration {
	return cpuOnAllCores(max(4, 2000>>(cost-4)), func() { _, _ = bcrypt.GenerateFromPassword([]byte(goodPassword), cost) })
}

// defaultHashCPU is that of the hash that a configuration without hashers has.
func defaultHashCPU() time.Duration {
	return cpuOnAllCores(40, func() { argon2.IDKey([]byte(goodPassword), make([]byte, 16), 2, 19<<10, 1, 32) })
}

// cpuOnAllCores is the CPU time of work, n times on each core at once.
func cpuOnAllCores(n int, work func()) time.Duration {
	var results []time.Duration
	for range 3 {
		before := ownCPU()
		var wg sync.WaitGroup
		for range runtime.NumCPU() {
			wg.Go(func() {
				for range n {
					work()
				}
			})
		}
		wg.Wait()
		results = append(results, (ownCPU()-before)/time.Duration(n*runtime.NumCPU()))
	}
	slices.Sort(results)
	return results[1]
}

// diskSync is the median time of an append and fsync in a folder.
func diskSync(t testing.TB, dir string) time.Duration {
	t.Helper()
	f, err := os.CreateTemp(dir, "sync")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []time.Duration
	for range 200 {
		at := time.Now()
		if _, err := f.Write(make([]byte, 512)); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// bareServer is a process that answers every request with the same bytes.
func bareServer(t *testing.T, body []byte) (url string, stop func()) {
	t.Helper()
	port := freePort(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("USHER_BENCH_BARE=127.0.0.1:%d", port), "USHER_BENCH_BODY="+string(body))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url = fmt.Sprintf("http://127.0.0.1:%d", port)
	eventually(t, 5*time.Second, func() error {
		_, err := http.Get(url)
		return err
	})
	return url, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
}

// serveBare is the main function of a bare server's process.
func serveBare(addr string) error {
	body := []byte(os.Getenv("USHER_BENCH_BODY"))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
}

// loadAverage is how many processes wanted a core in the last minute.
func loadAverage() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(data), " ")
	return first
}

// metric reads one metric of the first api process.
func (s *system) metric(name string) (value float64) {
	s.t.Helper()
	for line := range strings.Lines(string(newApp(s.t, s.admins[0]).must("GET", "/metrics", nil, nil).body)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			value, _ = strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return value
}
