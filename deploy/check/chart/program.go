package chart

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/usher-auth/usher/deploy/check/commands"
)

// CheckProgram says what of the pods the program, whose path is given, does not know:
// commands, flags, and what the configuration and the environment say together. Files
// that would come from Secrets are made below dir.
func (o *Objects) CheckProgram(usher, dir string) (problems []string) {
	known, err := commands.Of(usher)
	if err != nil {
		return []string{err.Error()}
	}
	credentials, err := commands.Credentials(usher)
	if err != nil {
		return []string{err.Error()}
	}
	secrets, err := secrets()
	if err != nil {
		return []string{err.Error()}
	}
	for _, p := range o.pods() {
		if given := p.credentials(); !slices.Equal(given, credentials[p.part]) {
			problems = append(problems, fmt.Sprintf("%s: of the bus it gets %v, want %v", p.name, given, credentials[p.part]))
		}
		for _, c := range p.containers() {
			if err := known.Check(c.Args); err != nil {
				problems = append(problems, fmt.Sprintf("%s: container %s: %v", p.name, c.Name, err))
			}
		}
		if p.part == "test" {
			continue
		}
		if err := o.checkConfig(usher, filepath.Join(dir, p.name), p, secrets); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", p.name, err))
		}
	}
	return problems
}

// checkConfig has the program check the configuration as the pod sees it.
func (o *Objects) checkConfig(usher, dir string, p pod, secrets map[string]string) error {
	c := p.spec.Containers[0]
	if err := o.writeVolumes(dir, p, c, secrets); err != nil {
		return err
	}
	var env []string
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			env = append(env, e.Name+"="+at(dir, e.Value))
		}
	}
	cmd := exec.Command(usher, "config", "check", "-c", filepath.Join(dir, "etc/usher/usher.yaml"))
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("usher config check: %w\n%s", err, out)
	}
	return nil
}

// at moves the paths of a container below dir.
func at(dir, text string) string {
	for _, root := range []string{"/run/usher", "/etc/usher", "/var/lib/usher"} {
		text = strings.ReplaceAll(text, root, filepath.Join(dir, root))
	}
	return text
}

// writeVolumes writes the files that a container finds.
func (o *Objects) writeVolumes(dir string, p pod, c corev1.Container, secrets map[string]string) error {
	for _, m := range c.VolumeMounts {
		v := p.spec.Volumes[slices.IndexFunc(p.spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })]
		files := map[string]string{}
		switch {
		case v.ConfigMap != nil:
			for _, made := range o.ConfigMaps {
				if made.Name == v.ConfigMap.Name {
					for name, text := range made.Data {
						files[name] = at(dir, text)
					}
				}
			}
		case v.Projected != nil:
			for _, source := range v.Projected.Sources {
				for _, i := range source.Secret.Items {
					files[i.Path] = cmp.Or(secrets[i.Path], random)
				}
			}
		case v.Secret != nil && v.Name == "files":
			files["staff"] = random
		case v.Secret != nil && v.Name == "database":
			files["ca.crt"] = secrets["ca.crt"]
		case v.Secret != nil:
			for _, i := range v.Secret.Items {
				files[i.Path] = cmp.Or(secrets[i.Path], random)
			}
		}
		for name, text := range files {
			path := filepath.Join(dir, m.MountPath, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return err
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// random is what is in files of Secrets that are not one of secrets.
const random = "0123456789abcdef0123456789abcdef0123456789abcdef\nfedcba9876543210fedcba9876543210fedcba9876543210\n"

// secrets are files of Secrets, with something of the right kind in them.
func secrets() (map[string]string, error) {
	cert, key, err := certificate("id.example.org")
	return map[string]string{
		"dsn":            "postgres://usher:x@db:5432/usher?sslmode=verify-full\n",
		"connection_uri": "smtps://usher:x@mail:465\n",
		"scrape_token":   "usher_at_" + strings.Repeat("0", 32),
		"tls.crt":        cert, "tls.key": key, "ca.crt": cert,
	}, err
}

// certificate makes one of a name for a day, and its key.
func certificate(name string) (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return "", "", err
	}
	bytesOfKey, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	var c, k bytes.Buffer
	if err := pem.Encode(&c, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return "", "", err
	}
	err = pem.Encode(&k, &pem.Block{Type: "PRIVATE KEY", Bytes: bytesOfKey})
	return c.String(), k.String(), err
}
