package e2e_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// kit compares the CPU that the kit takes for an event with that of the same
// fetch, decode and double ack by hand. The bus is another process.
func (b *bench) kit() {
	runs := b.goBench("workers", "AgainstHand", 20_000, 3)
	slices.SortFunc(runs, func(x, y metrics) int { return int(1e6 * (x["kit/hand"] - y["kit/hand"])) })
	m := runs[len(runs)/2]
	b.row("CPU of the kit per event, double ack, bus in a process of its own", fmt.Sprintf("%.1f µs", m["kit-cpu-ns/event"]/1e3),
		fmt.Sprintf("by hand %.1f µs", m["hand-cpu-ns/event"]/1e3),
		fmt.Sprintf("%.2f × (%.2f to %.2f)", m["kit/hand"], runs[0]["kit/hand"], runs[len(runs)-1]["kit/hand"]), "≤ 1.3 ×")
}

// backlog measures one worker with a backlog that waits.
func (b *bench) backlog() {
	m := b.goBench("workers", "Backlog", 100_000, 1)[0]
	b.row("one worker of concurrency 16, a backlog of 100,000 events", fmt.Sprintf("%.0f/s, most memory %.0f MiB", m["events/s"], m["peak-MiB"]),
		fmt.Sprintf("by hand %.0f/s", m["hand-events/s"]), fmt.Sprintf("%.2f ×", m["events/s"]/m["hand-events/s"]), "≥ 10,000/s, ≤ 50 MiB")
}

// metrics are what a benchmark reported, by unit.
type metrics map[string]float64

// goBench runs a benchmark that stands beside the code, with n operations, so many times.
func (b *bench) goBench(folder, name string, n, times int) (runs []metrics) {
	cmd := exec.CommandContext(b.t.Context(), "go", "test", "-run", "^$", "-bench", "^Benchmark"+name+"$",
		"-benchtime", fmt.Sprintf("%dx", n), "-count", strconv.Itoa(times), "github.com/usher-auth/usher/"+folder)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line) // name, operations, then value and unit of each metric
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark"+name) {
			continue
		}
		m := metrics{}
		for pair := range slices.Chunk(fields[2:], 2) {
			if m[pair[1]], err = strconv.ParseFloat(pair[0], 64); err != nil {
				b.t.Fatalf("%s: %v", line, err)
			}
		}
		runs = append(runs, m)
	}
	if len(runs) != times {
		b.t.Fatalf("%v ran %d times, want %d\n%s", cmd.Args, len(runs), times, out)
	}
	return runs
}
