package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/usher-auth/usher/cmd/internal/config"
)

// notify tells the service manager how this process is, where one has started it and
// wants to know (sd_notify).
func (p *process) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		p.log.Warn("the service manager was not told", "state", state, "error", err)
	}
}

// reloading tells that the configuration is being read again, and done that it was.
func (p *process) reloading() (done func()) {
	p.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
	return func() { p.notify(daemon.SdNotifyReady) }
}

// startWatchdog tells the service manager again and again that this process answers,
// if it asks for that (WatchdogSec=). One that has hung is then started anew.
func (p *process) startWatchdog(ctx context.Context, admin net.Addr) error {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return err
	}
	p.stages.start(ctx, "watchdog", func(ctx context.Context) error {
		tick := time.NewTicker(every / 2)
		defer tick.Stop()
		for {
			if err := p.answersItself(ctx, admin, every/4); err == nil {
				p.notify(daemon.SdNotifyWatchdog)
			} else if ctx.Err() == nil {
				p.log.Error("this process does not answer itself", "error", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
	return nil
}

// answersItself asks the admin listener whether it is alive, by a connection of its own. It
// does not ask whether this process is ready: another start brings no database back.
func (p *process) answersItself(ctx context.Context, admin net.Addr, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.certificates.url("admin", admin)+"/health/alive", nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   config.Pinned(p.certificates.leaf("admin"), nil),
	}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}
