package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/events"
)

const (
	checkBus         = "bus.reachable"
	checkCredentials = "bus.credentials"
	checkRights      = "bus.rights"
	checkMinting     = "bus.minting"
)

var busLooks = []look{
	{[]Check{{checkBus, "each of its servers answers"}}, (*Doctor).lookBus, false},
	{[]Check{{checkCredentials, "each part's credential is there, its own, good for long enough, and taken"}}, (*Doctor).lookCredentials, false},
	{[]Check{{checkRights, "each credential may do what this version's table says, and no more"}}, (*Doctor).lookRights, false},
	{[]Check{{checkMinting, "workers' credentials can be made, and the bus takes them"}}, (*Doctor).lookMinting, false},
	streamLook, roomLook, syncLook, payloadLook, workersLook,
}

// Ends of a credential or a certificate that should be known.
const (
	endsSoon = 30 * 24 * time.Hour
	endsNow  = 7 * 24 * time.Hour
)

func (d *Doctor) lookBus(ctx context.Context) (f findings) {
	b, err := d.nats(ctx)
	switch {
	case errors.Is(err, errNotRunning):
		f.add(Yellow, checkBus, oneLine(err), "usher serve"+d.Flags)
		return f
	case err != nil:
		f.add(Red, checkBus, oneLine(err), "run 'usher doctor' as the user of the server; if that file is damaged, restore bus from the backup of data_dir")
		return f
	case len(b.creds) == 0:
		f.skip("no credential is here, see "+checkCredentials, checkBus)
		return f
	}
	here, all := b.count()
	for _, url := range sorted(b.servers) {
		err := b.servers[url]
		mend := d.mendAway(err)
		switch {
		case err == nil:
			f.green(checkBus, "%s answers", url)
		case b.away():
			f.add(Red, checkBus, fmt.Sprintf("%s: %s", url, cause(err)), mend+"; nobody is signed in and no hook gets an event until then")
		case b.minority(new(findings)):
			f.add(Red, checkBus, fmt.Sprintf("%s: %s; %d of %d servers answer, and without most of them the streams store nothing", url, cause(err), here, all), mend+"; no hook gets an event until then")
		default:
			f.add(Yellow, checkBus, fmt.Sprintf("%s: %s", url, cause(err)), mend+"; the others do its work")
		}
	}
	return f
}

// mendAway is what to do about a server that does not answer as it should.
func (d *Doctor) mendAway(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
	)
	switch {
	case errors.As(err, &unknown) && d.Config.Bus.TLS.CA == "":
		return "set bus.tls.ca to the ca.pem that 'usher bus config' wrote"
	case errors.As(err, &unknown):
		return "put into bus.tls.ca the authority that signed that server's certificate"
	case errors.As(err, &name):
		return "use in bus.url a name that is in that server's certificate"
	}
	return "start that server; if it runs, see its log and the network"
}

// cause is the last of what an error wraps, without what the finding says already.
func cause(err error) string {
	text := oneLine(err)
	if i := strings.Index(text, "nats: "); i >= 0 {
		return text[i+len("nats: "):]
	}
	return text
}

func (d *Doctor) lookCredentials(ctx context.Context) (f findings) {
	b, err := d.nats(ctx)
	if err != nil {
		f.skip(noBus, checkCredentials)
		return f
	}
	var good, missing []string
	for _, user := range events.Users() {
		switch finding := d.judgeCredential(b, user); {
		case finding != nil:
			f = append(f, *finding)
		case b.creds[user] == nil:
			missing = append(missing, user)
		default:
			good = append(good, user)
		}
	}
	switch {
	case len(good) == 0 && len(f) == 0:
		f.add(Red, checkCredentials, fmt.Sprintf("%s holds no credential", d.Config.Bus.Credentials), "set bus.credentials to the folder creds of what 'usher bus config' wrote")
	case len(missing) > 0:
		f.add(Yellow, checkCredentials, "not here: "+strings.Join(missing, ", "), "well, if those parts run elsewhere; else 'usher bus config' on the folder above writes them")
	}
	switch {
	case len(good) > 0 && b.away():
		f.green(checkCredentials, "%d of %d are good for long enough, and were not tried, as no server answers: %s", len(good), len(events.Users()), strings.Join(good, ", "))
	case len(good) > 0:
		f.green(checkCredentials, "%d of %d are good: %s", len(good), len(events.Users()), strings.Join(good, ", "))
	}
	return f
}

// judgeCredential gives nil for one that is good, or not here.
func (d *Doctor) judgeCredential(b *bus, user string) *Finding {
	creds := b.creds[user]
	if creds == nil {
		return nil
	}
	finding := Finding{Check: checkCredentials, Status: Red, Mend: "'usher bus config' on the folder above, then start the bus and the part again"}
	whose, expires, err := events.CredentialOf(creds)
	switch {
	case err != nil:
		finding.Seen = fmt.Sprintf("%s: %s", d.credentialFile(user), oneLine(err))
	case whose != user:
		finding.Seen = fmt.Sprintf("%s is the credential of %s", d.credentialFile(user), whose)
	case !expires.IsZero() && expires.Before(d.Now().Add(endsNow)):
		finding.Seen = fmt.Sprintf("that of %s is good until %s", user, expires.UTC().Format(time.DateTime))
	case !expires.IsZero() && expires.Before(d.Now().Add(endsSoon)):
		finding.Status, finding.Seen = Yellow, fmt.Sprintf("that of %s is good until %s", user, expires.UTC().Format(time.DateTime))
	case b.refused[user] != nil && !b.away():
		finding.Seen = fmt.Sprintf("the bus refuses that of %s: %s", user, cause(b.refused[user]))
		finding.Mend = "give the servers and the parts what one 'usher bus config' wrote, and start the servers again"
	default:
		return nil
	}
	return &finding
}

func (d *Doctor) lookRights(ctx context.Context) (f findings) {
	b, ok := d.reached(ctx, &f, checkRights)
	if !ok {
		return f
	}
	for _, user := range events.Users() {
		if whose, _, err := events.CredentialOf(b.creds[user]); b.creds[user] == nil || err != nil || whose != user {
			continue // that is another finding
		}
		drift, err := events.RightsDrift(b.creds[user], user)
		if err != nil {
			f.add(Red, checkRights, fmt.Sprintf("%s: %s", user, oneLine(err)), "write it anew by 'usher bus config' on the folder above, then start the part again")
			continue
		}
		if len(drift) > 0 {
			f.add(Red, checkRights, fmt.Sprintf("%s %s", user, strings.Join(drift, ", ")), "'usher bus config' on the folder above, then start the parts again: the credential was made by another version")
		}
	}
	if user, beyond := d.tryRights(ctx, b); len(beyond) > 0 && len(f) == 0 {
		f.add(Red, checkRights, fmt.Sprintf("the bus lets %s %s", user, strings.Join(beyond, " and ")), "give the servers the configuration of 'usher bus config', which has accounts and rights")
	}
	if len(f) == 0 && len(b.conns) > 0 {
		f.green(checkRights, "as the table says, for %d users; the bus refuses what is denied", len(b.conns))
	} else if len(f) == 0 {
		f.skip("no credential is taken, see "+checkCredentials, checkRights)
	}
	return f
}

// tryRights tries what is denied as one user: the bus, which logs what it
// refuses, either goes by what credentials say or does not.
func (d *Doctor) tryRights(ctx context.Context, b *bus) (user string, beyond []string) {
	for _, user := range events.Users() {
		if nc, ok := b.conns[user]; ok {
			beyond, _ = events.MayBeyond(ctx, d.connectOptions(nc.ConnectedUrl(), user, b.creds[user])) // what breaks meanwhile is another finding
			return user, beyond
		}
	}
	return "", nil
}

// probeWorker is the name in the credential that is tried: no worker has it.
const probeWorker = "doctor-probe"

func (d *Doctor) lookMinting(ctx context.Context) (f findings) {
	b, ok := d.reached(ctx, &f, checkMinting)
	if !ok || b.minority(&f, checkMinting) {
		return f
	}
	if errors.Is(b.noMint, events.ErrNoMinter) {
		f.add(Yellow, checkMinting, oneLine(b.noMint), "well, if no process with the API runs here; else 'usher bus config' on the folder above writes it")
		return f
	}
	if b.noMint != nil {
		f.add(Red, checkMinting, oneLine(b.noMint), "write it anew by 'usher bus config' on the folder above")
		return f
	}
	creds, err := b.minter.WorkerCredentials(probeWorker, d.Now().Add(time.Minute))
	if err == nil {
		err = d.askAsWorker(ctx, b, creds)
	}
	if err != nil && d.silent(ctx, b) {
		f.skip("the streams do not answer, see "+checkStream, checkMinting)
		return f
	}
	if err != nil {
		f.add(Red, checkMinting, "a worker's credential is not taken: "+cause(err), "'usher bus config' on the folder above, then start the servers of the bus again: they do not know the key that signs for workers")
		return f
	}
	f.green(checkMinting, "a worker's credential of one minute is taken, and reaches the stream")
	return f
}

func (d *Doctor) askAsWorker(ctx context.Context, b *bus, creds []byte) error {
	nc, err := d.connect(ctx, strings.Join(slices.Collect(maps.Keys(b.servers)), ","), probeWorker, creds)
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, eachLimit/3)
	defer cancel()
	return events.AskAsWorker(ctx, nc, probeWorker)
}

// silent tells whether the streams do not answer Usher's own parts either.
func (d *Doctor) silent(ctx context.Context, b *bus) bool {
	nc, ok := b.as(events.UserProvision, events.UserDelivery)
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, eachLimit/3)
	defer cancel()
	_, _, err := events.Compare(ctx, nc, events.StreamOptions{}, nil)
	return err != nil
}

// sorted are the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
