package storetest

import (
	"errors"
	"os"
	"path/filepath"
)

// Fork has both servers take writes on one timeline, as two standbys do that are
// promoted at once: neither knows of the other. [Pair.Rejoin] undoes it.
func (p *Pair) Fork() error {
	promote := func(n *Node) error {
		return n.run("pg_ctl", "promote", "-D", n.data(), "-w", "-t", "30", "-s")
	}
	former := p.Primary
	_ = former.watch.Process.Kill() // it would remove the folder
	_ = former.watch.Wait()
	former.alive.Close()
	former.watch = nil
	if err := former.run("pg_ctl", "stop", "-D", former.data(), "-m", "fast", "-w", "-s"); err != nil {
		return err
	}
	// It comes back as a standby of nobody.
	signal := filepath.Join(former.data(), "standby.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		return err
	}
	if as := former.as.Credential; as != nil {
		if err := os.Chown(signal, int(as.Uid), int(as.Gid)); err != nil {
			return err
		}
	}
	return errors.Join(promote(p.Standby), former.start(), promote(former)) // as long as it is away nobody follows it to its timeline
}
