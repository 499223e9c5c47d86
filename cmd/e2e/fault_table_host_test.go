package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// vanished is a host that is gone without a word: one server of the bus is in a
// network namespace of its own, and the cable to it is pulled out. Nobody is
// told, and who connects to it waits for an answer that does not come.
func vanished() fault {
	var h host
	return fault{
		name: "host of a NATS server vanished", goal: goalNATS, hold: 6 * time.Second,
		prepare: func(f *field) { h = f.ownHost("nats-3") },
		inflict: func(f *field) { h.cable(f, "down") },
		mend:    func(f *field) { h.cable(f, "up") },
	}
}

// host is a network namespace, with one end of a cable in it.
type host struct{ namespace, end string }

func (h host) cable(f *field, state string) {
	f.must(ip("netns", "exec", h.namespace, "ip", "link", "set", h.end, state))
}

// ownHost moves a server of the bus that does not run yet to a host of its own.
func (f *field) ownHost(name string) host {
	f.t.Helper()
	n := os.Getpid() % 10_000
	h := host{namespace: fmt.Sprintf("usher-test-%d", n), end: fmt.Sprintf("ut%di", n)}
	outer := fmt.Sprintf("ut%do", n)
	// Of the addresses that are for tests between networks.
	here, there := fmt.Sprintf("198.18.%d.%d", n/64%256, n%64*4+1), fmt.Sprintf("198.18.%d.%d", n/64%256, n%64*4+2)
	if err := ip("netns", "add", h.namespace); err != nil {
		leftOut(f.t, "no network namespace here: "+err.Error())
	}
	f.t.Cleanup(func() { _ = ip("netns", "del", h.namespace) })
	for _, args := range [][]string{
		{"link", "add", outer, "type", "veth", "peer", "name", h.end, "netns", h.namespace},
		{"addr", "add", here + "/30", "dev", outer},
		{"link", "set", outer, "up"},
		{"netns", "exec", h.namespace, "ip", "addr", "add", there + "/30", "dev", h.end},
		{"netns", "exec", h.namespace, "ip", "link", "set", "lo", "up"},
		{"netns", "exec", h.namespace, "ip", "link", "set", h.end, "up"},
	} {
		if err := ip(args...); err != nil {
			leftOut(f.t, "no hosts of their own here: "+err.Error())
		}
	}
	p := f.processes[name]
	f.moves(p, there)
	p.bin, p.args = "ip", append([]string{"netns", "exec", h.namespace, natsBin}, p.args...)
	return h
}

// moves writes another address for a server into all configurations.
func (f *field) moves(p *process, address string) {
	f.t.Helper()
	text, err := os.ReadFile(p.args[1])
	f.must(err)
	listens := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "listen") {
			for _, at := range loopbackAddress.FindAllString(line, -1) {
				listens[at] = true
			}
		}
	}
	files := []string{f.config}
	for _, other := range f.named("nats-") {
		files = append(files, other.args[1])
	}
	move := func(text string) string {
		for at := range listens {
			text = strings.ReplaceAll(text, at, address+strings.TrimPrefix(at, "127.0.0.1"))
		}
		return text
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		f.must(err)
		write(f.t, file, move(string(text)))
	}
	f.busURL = move(f.busURL)
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
