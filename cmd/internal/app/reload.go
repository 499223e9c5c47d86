package app

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// settleTime is how long a file must be left alone before it is read: editors
// write in several steps.
const settleTime = 200 * time.Millisecond

// followConfig reads the configuration again on SIGHUP and when its file
// changes, until ctx ends.
func (p *process) followConfig(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	changes, broken, closeWatch, err := watch(p.Watch)
	if err != nil {
		p.log.Warn("the configuration file is not watched; SIGHUP reads it again", "error", err)
	}
	defer closeWatch()

	settled := time.NewTimer(0)
	<-settled.C
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			p.reload(ctx)
		case e := <-changes:
			if e.Op != fsnotify.Chmod && about(e.Name, p.Watch) {
				settled.Reset(settleTime)
			}
		case err := <-broken:
			p.log.Warn("a change of the configuration file may have been missed; SIGHUP reads it again", "error", err)
			settled.Reset(settleTime)
		case <-settled.C:
			p.reload(ctx)
		}
	}
}

// about tells whether a change in its folder may change what a file holds.
// Kubernetes replaces the folder ..data, which the file is a link into.
func about(changed, file string) bool {
	return filepath.Clean(changed) == filepath.Clean(file) || filepath.Base(changed) == "..data"
}

// watch gives changes in the folder of a file, since many editors replace the
// file, and the watcher's errors.
func watch(file string) (changes <-chan fsnotify.Event, broken <-chan error, closeWatch func(), err error) {
	nothing := func() {}
	if file == "" {
		return nil, nil, nothing, nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, nil, nothing, err
	}
	if err := w.Add(filepath.Dir(file)); err != nil {
		return nil, nil, nothing, fmt.Errorf("%w, %w", err, w.Close())
	}
	return w.Events, w.Errors, func() { _ = w.Close() }, nil
}

// reload puts the configuration as it is now in force, with the saved settings
// over it, or says why it cannot and leaves the former one.
func (p *process) reload(ctx context.Context) {
	p.bus.refresh()
	cfg, _, err := p.Load()
	if err != nil {
		p.log.Error("the configuration cannot be used; the former one stays in force", "error", err)
		return
	}
	if _, restart := config.Diff(p.cfg, cfg); len(restart) > 0 { // what it started with
		p.log.Warn("these keys take effect at the next start", "keys", strings.Join(restart, ", "))
	}
	cfg.Dev = p.cfg.Dev // what is allowed in development is not switched on in passing
	changed, _ := config.Diff(p.overrides.file.Load(), cfg)
	if err := p.overrides.reread(ctx, cfg); err != nil {
		p.log.Error("the configuration cannot be used; the former one stays in force", "error", err)
		return
	}
	if len(changed) == 0 {
		p.log.Info("configuration read again; nothing has changed")
		return
	}
	p.log.Info("configuration read again", "changed", strings.Join(changed, ", "), "revision", p.live.now().shown.Generation)
}
