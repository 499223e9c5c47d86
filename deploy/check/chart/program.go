package chart

import (
	"bytes"
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
	for _, p := range o.pods() {
		for _, c := range p.containers() {
			if err := known.Check(c.Args); err != nil {
				problems = append(problems, fmt.Sprintf("%s: container %s: %v", p.name, c.Name, err))
			}
		}
		if p.part == "test" {
			continue
		}
		c := p.spec.Containers[0]
		if err := o.checkConfig(usher, filepath.Join(dir, p.name), p, c); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", p.name, err))
		}
	}
	return problems
}

// checkConfig has the program check the configuration as the container sees it.
func (o *Objects) checkConfig(usher, dir string, p pod, c corev1.Container) error {
	if err := o.writeVolumes(dir, p, c); err != nil {
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

// writeVolumes writes the files that a container finds, those of Secrets with
// something of the right kind in them.
func (o *Objects) writeVolumes(dir string, p pod, c corev1.Container) error {
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
					files[i.Path] = secretOf(i.Path)
				}
			}
		case v.Secret != nil && v.Name == "files":
			files["staff"] = "of-the-client"
		case v.Secret != nil && strings.HasSuffix(v.Name, "tls"), v.Secret != nil && v.Name == "database":
			cert, key, err := certificate()
			if err != nil {
				return err
			}
			files["tls.crt"], files["tls.key"], files["ca.crt"] = cert, key, cert
		case v.Secret != nil:
			for _, i := range v.Secret.Items {
				files[i.Path] = secretOf(i.Path)
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

func secretOf(name string) string {
	switch name {
	case "dsn":
		return "postgres://usher:x@db:5432/usher?sslmode=verify-full\n"
	case "connection_uri":
		return "smtps://usher:x@mail:465\n"
	case "scrape_token":
		return "usher_at_" + strings.Repeat("0", 32)
	}
	return strings.Repeat("0123456789abcdef", 4) + "\n" + strings.Repeat("fedcba9876543210", 4) + "\n"
}

// certificate makes one for a day, and its key.
func certificate() (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "id.example.org"}, DNSNames: []string{"id.example.org"},
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
