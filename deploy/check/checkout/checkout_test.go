package checkout_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/usher-auth/usher/deploy/check/checkout"
)

func TestUsher(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(checkout.Usher(t), "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "usher ") {
		t.Errorf("usher version: %v\n%s", err, out)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	if text := checkout.Read(t, "deploy/config.yaml"); !strings.Contains(text, "data_dir") {
		t.Errorf("Read(deploy/config.yaml) = %d bytes without data_dir", len(text))
	}
}
