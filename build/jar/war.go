// SPDX-License-Identifier: Apache-2.0

package jar

import (
	"regexp"
	"strings"

	"github.com/dray-tools/dray/oci"
)

// The default server for a WAR, and where it looks for the application.
const (
	jettyBase = "jetty:12"
	jettyRoot = "/var/lib/jetty/webapps/ROOT"
	jettyJar  = "/usr/local/jetty/start.jar"
)

// war plans the files that a server deploys.
func (p *plan) war() (err error) {
	if p.server, err = p.webVersion(); err != nil {
		return err
	}
	for _, f := range p.entries {
		if strings.HasPrefix(f.Name, "WEB-INF/lib/") && strings.HasSuffix(f.Name, ".jar") {
			lib, err := p.nested(f)
			if err != nil {
				return err
			}
			lib.at = p.at(f.Name)
			p.libraries = append(p.libraries, lib)
		}
	}
	if p.o.Mode == Packaged {
		p.put(partApp, p.whole(p.root+".war"))
		return nil
	}
	p.order(partLibraries, partSnapshots, partResources, partClasses)
	for _, f := range p.entries {
		part := partResources
		switch {
		case isSignature(f.Name):
			continue
		case strings.HasPrefix(f.Name, "WEB-INF/lib/") && isSnapshot(f.Name):
			part = partSnapshots
		case strings.HasPrefix(f.Name, "WEB-INF/lib/"):
			part = partLibraries
		case strings.HasPrefix(f.Name, "WEB-INF/classes/") && strings.HasSuffix(f.Name, ".class"):
			part = partClasses
		}
		p.put(part, p.entry(f, p.at(f.Name)))
	}
	return nil
}

// onServer decides what starts a WAR: of the default base its server, with the
// module for the application's version; of another one what it starts itself.
func (p *plan) onServer(named bool) error {
	if !named {
		module := "--module=" + p.server + "-deploy"
		p.entrypoint = func(style) []string { return p.command("-jar", jettyJar, module) }
		return nil
	}
	if p.o.AppRoot == "" {
		return oci.Errorf(oci.ErrInvalid, "say with --app-root where the base looks for applications, as /usr/local/tomcat/webapps/ROOT or %s", jettyRoot)
	}
	if len(p.o.JVMFlags) > 0 {
		return oci.Errorf(oci.ErrInvalid, "the base starts the server: give flags for java as --env JAVA_TOOL_OPTIONS=…")
	}
	return nil
}

var webApp = regexp.MustCompile(`<(?:\w+:)?web-app\b[^>]*\bversion\s*=\s*["']([0-9]+)(?:\.([0-9]+))?["']`)

// webVersion is the environment of Jetty for what web.xml says (Jakarta EE
// Platform, Servlet versions).
func (p *plan) webVersion() (string, error) {
	text, err := p.text("WEB-INF/web.xml")
	m := webApp.FindSubmatch(text)
	if err != nil || m == nil {
		return "ee10", err
	}
	switch major, minor := string(m[1]), string(m[2]); {
	case major == "6" && minor == "1":
		return "ee11", nil
	case major == "6":
		return "ee10", nil
	case major == "5":
		return "ee9", nil
	}
	return "ee8", nil
}
