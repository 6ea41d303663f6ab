// SPDX-License-Identifier: Apache-2.0

package peers_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// What dray pushed is pulled by a Docker engine and run.
func TestDockerRunsWhatDrayPushed(t *testing.T) {
	t.Parallel()
	docker := engine(t)
	src := hello(t)
	for name, registry := range map[string]string{"distribution": distribution(t), "dray serve": served(t)} {
		image := registry + "/team/hello:1.0"
		dray(t, "copy", src, image)
		docker("pull", "-q", image)
		if out := docker("run", "--rm", "--network=host", image, name); !strings.Contains(out, "hello, "+name+", from linux/") {
			t.Errorf("%s: docker run prints %q", name, out)
		}
		docker("tag", image, registry+"/back/hello:2")
		docker("push", "-q", registry+"/back/hello:2")
		copied := dray(t, "copy", registry+"/back/hello:2", "oci:"+filepath.Join(t.TempDir(), "back")+":2")
		if want := dray(t, "digest", registry+"/back/hello:2"); !strings.HasSuffix(copied, want) {
			t.Errorf("%s: docker pushed %s, dray copied %s", name, want, copied)
		}
	}
}

// What skopeo pushed is copied by dray with the same digest, and skopeo reads
// what dray wrote.
func TestSkopeo(t *testing.T) {
	t.Parallel()
	skopeo := need(t, "skopeo")
	src := hello(t)
	digest := dray(t, "digest", src)
	for name, registry := range map[string]string{"distribution": distribution(t), "dray serve": served(t)} {
		from := registry + "/skopeo/hello:1"
		command(t, skopeo, "copy", "-q", "--all", "--dest-tls-verify=false", src, "docker://"+from)
		got := dray(t, "copy", from, registry+"/dray/hello:1")
		if !strings.HasSuffix(got, digest) {
			t.Errorf("%s: dray copied %s, skopeo pushed %s", name, got, digest)
		}
		layout := filepath.Join(t.TempDir(), "layout")
		dray(t, "copy", from, "oci:"+layout+":x")
		for _, image := range []string{"docker://" + registry + "/dray/hello:1", "oci:" + layout + ":x"} {
			args := []string{"inspect", "--raw", image}
			if strings.HasPrefix(image, "docker:") {
				args = append(args, "--tls-verify=false")
			}
			raw := command(t, skopeo, args...)
			if want := dray(t, "manifest", from); raw != want {
				t.Errorf("%s: skopeo reads %s of %s, want %s", name, raw, image, want)
			}
		}
	}
}

// crane and regctl push to dray's registry and read from it.
func TestCraneAndRegctl(t *testing.T) {
	t.Parallel()
	crane, regctl := need(t, "crane"), need(t, "regctl")
	src := hello(t)
	digest := dray(t, "digest", src)
	registry := served(t)
	dray(t, "copy", src, registry+"/a/hello:1")
	command(t, regctl, "registry", "set", registry, "--tls", "disabled")
	command(t, crane, "--insecure", "copy", registry+"/a/hello:1", registry+"/crane/hello:1")
	command(t, regctl, "image", "copy", registry+"/a/hello:1", registry+"/regctl/hello:1")
	for _, image := range []string{registry + "/crane/hello:1", registry + "/regctl/hello:1"} {
		if got := command(t, crane, "--insecure", "digest", image); got != digest {
			t.Errorf("crane finds %s at %s, want %s", got, image, digest)
		}
		if got := command(t, regctl, "image", "digest", image); got != digest {
			t.Errorf("regctl finds %s at %s, want %s", got, image, digest)
		}
		command(t, crane, "--insecure", "validate", "--remote", image+"@"+dray(t, "digest", "--platform", "linux/amd64", image))
	}
	if got := command(t, crane, "--insecure", "catalog", registry); got != "a/hello\ncrane/hello\nregctl/hello" {
		t.Errorf("crane's catalog: %q", got)
	}
}

// Everything a user can ask of a registry works with distribution's, too.
func TestDistribution(t *testing.T) {
	t.Parallel()
	registry, src := distribution(t), hello(t)
	a := registry + "/a/hello"
	want := dray(t, "digest", src)
	dray(t, "copy", src, a+":1")
	dray(t, "tag", a+":1", "2", "latest")
	if got := dray(t, "ls", a); got != "1\n2\nlatest" {
		t.Errorf("ls: %q", got)
	}
	if got := dray(t, "catalog", registry); got != "a/hello" {
		t.Errorf("catalog: %q", got)
	}
	_, errOut, err := try(t, drayBin, "copy", a+":1", registry+"/b/hello:1")
	if err != nil || !strings.Contains(errOut, "6 mounted") {
		t.Errorf("copy in one registry: %v %q", err, errOut)
	}
	dray(t, "delete", a+":2")
	if got := dray(t, "ls", a); got != "1\nlatest" {
		t.Errorf("ls after delete: %q", got)
	}
	if got := dray(t, "delete", "--digest", "--dry-run", "--format", "{{range .tags}}{{.}} {{end}}", a+":1"); got != "1 latest" {
		t.Errorf("delete --digest --dry-run: %q", got)
	}
	dray(t, "delete", "--digest", a+":1")
	if _, _, err := try(t, drayBin, "digest", a+":latest"); exitCode(err) != 3 {
		t.Errorf("after delete --digest: %v", err)
	}
	if got := dray(t, "digest", registry+"/b/hello:1"); got != want {
		t.Errorf("the mounted copy is %s, want %s", got, want)
	}
}
