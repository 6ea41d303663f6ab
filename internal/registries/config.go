// SPDX-License-Identifier: Apache-2.0

// Package registries reads what users of Podman and Docker have said about
// registries: registries.conf (mirrors, rewriting, blocking, insecure) and the
// certs.d directories.
package registries

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// maxFile bounds a configuration file, a certificate or a key.
const maxFile = 1 << 20

// Paths say where to look; an empty one is skipped.
type Paths struct {
	Conf     string // CONTAINERS_REGISTRIES_CONF: read instead of the main file and all drop-ins
	Override string // CONTAINERS_REGISTRIES_CONF_OVERRIDE: a drop-in after all others

	Vendor string // /usr/share/containers
	Admin  string // /etc/containers
	User   string // $XDG_CONFIG_HOME/containers or ~/.config/containers
	UID    int    // chooses between registries.rootful.conf.d and registries.rootless.conf.d

	CertDir  string   // --cert-dir: used as it is, for every host, instead of CertDirs
	CertDirs []string // with a directory HOST[:PORT] each: the user's, /etc/containers/certs.d, /etc/docker/certs.d
}

// DefaultPaths are the places of containers-config(5) and containers-certs.d(5)
// for an environment. CertDir stays empty.
func DefaultPaths(getenv func(string) string, uid int, goos string) Paths {
	p := Paths{
		Conf:     getenv("CONTAINERS_REGISTRIES_CONF"),
		Override: getenv("CONTAINERS_REGISTRIES_CONF_OVERRIDE"),
		Vendor:   "/usr/share/containers",
		Admin:    "/etc/containers",
		UID:      uid,
	}
	home, docker := getenv("HOME"), "/etc/docker/certs.d"
	switch goos {
	case "freebsd":
		p.Vendor, p.Admin = "/usr/local/share/containers", "/usr/local/etc/containers"
	case "windows":
		p.Vendor, p.Admin, docker = "", under(getenv("ProgramData"), "containers"), ""
		home = getenv("USERPROFILE")
		p.User = under(getenv("APPDATA"), "containers")
	}
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		p.User = filepath.Join(dir, "containers")
	} else if p.User == "" {
		p.User = under(home, ".config", "containers")
	}
	dirs := []string{under(p.User, "certs.d"), under(p.Admin, "certs.d"), docker}
	if goos != "windows" { // Docker without root
		dirs = append(dirs, under(home, ".config", "docker", "certs.d"))
	} else {
		dirs = append(dirs, under(home, ".docker", "certs.d"))
	}
	p.CertDirs = slices.DeleteFunc(dirs, func(s string) bool { return s == "" })
	return p
}

// under joins only if there is something to join to.
func under(dir string, more ...string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(append([]string{dir}, more...)...)
}

// Options of Load and OpenCerts.
type Options struct {
	// Warn is told once about what is ignored; it may be called from several
	// goroutines. nil: nobody is told.
	Warn func(string)
}

func (o Options) warn(text string) {
	if o.Warn != nil {
		o.Warn(text)
	}
}

// Load reads registries.conf: the first main file that exists of the user's,
// the administrator's and the vendor's, then the drop-ins of all of them in
// the order of their names, where one of a higher place masks one of the same
// name. A [[registry]] table replaces an earlier one of the same prefix. No
// file at all is an empty configuration. ErrInvalid, naming the file, if one
// is broken or in the v1 format.
func Load(p Paths, o Options) (*Config, error) {
	c := &Config{}
	for _, name := range p.files() {
		raw, err := readFile(name)
		if errors.Is(err, fs.ErrNotExist) && name != p.Conf && name != p.Override {
			continue
		}
		if err == nil {
			err = c.add(name, raw, o)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, oci.Errorf(oci.ErrInvalid, "registries configuration %s does not exist", name)
		case err != nil:
			return nil, err
		}
	}
	return c, nil
}

// files lists what Load reads, in its order.
func (p Paths) files() []string {
	var out []string
	if p.Conf != "" {
		out = append(out, p.Conf)
	} else {
		for _, dir := range []string{p.User, p.Admin, p.Vendor} {
			name := under(dir, "registries.conf")
			if _, err := os.Stat(name); name != "" && err == nil {
				out = append(out, name)
				break
			}
		}
		out = append(out, p.dropIns()...)
	}
	if p.Override != "" {
		out = append(out, p.Override)
	}
	return out
}

// dropIns lists the drop-in files by name, after masking.
func (p Paths) dropIns() []string {
	byName := map[string]string{}
	for _, dir := range []string{p.Vendor, p.Admin, p.User} {
		if dir == "" {
			continue
		}
		subs := []string{"registries.conf.d"}
		switch {
		case dir == p.User:
		case p.UID == 0:
			subs = append(subs, "registries.rootful.conf.d")
		case p.UID > 0:
			subs = append(subs, "registries.rootless.conf.d", filepath.Join("registries.rootless.conf.d", strconv.Itoa(p.UID)))
		}
		for _, sub := range subs {
			entries, _ := os.ReadDir(filepath.Join(dir, sub)) // missing is the normal case
			for _, e := range entries {
				if strings.HasSuffix(e.Name(), ".conf") && !e.IsDir() {
					byName[e.Name()] = filepath.Join(dir, sub, e.Name())
				}
			}
		}
	}
	names := make([]string, 0, len(byName))
	for name := range byName {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = byName[name]
	}
	return names
}

// readFile reads a file of bounded size.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxFile {
		return nil, oci.Errorf(oci.ErrInvalid, "%s has more than %d bytes", name, maxFile)
	}
	return raw, nil
}
