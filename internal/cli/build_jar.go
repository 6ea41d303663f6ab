// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dray-tools/dray"
	"github.com/dray-tools/dray/build/jar"
	"github.com/dray-tools/dray/oci"
)

// jarFront builds Java archives.
type jarFront struct {
	a     *app
	o     jar.Options
	flags []string // for java, as they were given
}

func (*jarFront) words() (use, short, long, example string) {
	return "jar FILE", "Build an image of a Java archive", `Put a jar, an executable jar of Spring Boot or a WAR into an image. It is taken
apart into layers of what changes together: dependencies, snapshots, other
modules of the project, resources, classes; or as the layers.idx of Spring Boot
says. What the jar's Class-Path names is put in beside it.

--mode packaged keeps it in one piece, --mode thin puts the libraries of Spring
Boot beside a small jar, which starts without Spring Boot's loader and faster.
A jar that only works in one piece is packaged.

Without --from the base is eclipse-temurin:N-jre with the earliest N of 8, 11,
17, 21 and 25 that its classes and libraries run on, and for a WAR jetty:12.
On another base a WAR needs --app-root, and the base starts the server.`,
		`  dray build jar target/app.jar -t registry.example/app:1
  dray build jar target/app.jar --mode thin --jvm-flags -XX:MaxRAMPercentage=75 -t registry.example/app:1
  dray build jar app.war --from tomcat:11 --app-root /usr/local/tomcat/webapps/ROOT -t registry.example/site:1`
}

func (x *jarFront) add(f *pflag.FlagSet) {
	f.StringVar(&x.o.Mode, "mode", "", "jar: exploded, packaged or thin: `MODE` (default exploded, where that works)")
	f.StringVar(&x.o.MainClass, "main-class", "", "jar: start `CLASS` (default: what the manifest says, or the only one that can be)")
	f.StringArrayVar(&x.flags, "jvm-flags", nil, "jar: flags for java: a JSON list, or one `FLAG` each time")
	f.StringVar(&x.o.AppRoot, "app-root", "", "jar: put all into the directory `DIR` (default /app)")
}

// takes reports whether it is a jar or a WAR, by its name.
func (x *jarFront) takes(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	info, err := os.Stat(path)
	return (ext == ".jar" || ext == ".war") && err == nil && info.Mode().IsRegular()
}

func (x *jarFront) jobs(c *cobra.Command, o *buildFlags, args []string) ([]dray.BuildJob, error) {
	if len(args) != 1 {
		return nil, usage(c, errors.New("want one jar or WAR"))
	}
	x.o.JVMFlags = x.flags
	if len(x.flags) == 1 && strings.HasPrefix(strings.TrimSpace(x.flags[0]), "[") {
		x.o.JVMFlags = nil
		if err := json.Unmarshal([]byte(x.flags[0]), &x.o.JVMFlags); err != nil {
			return nil, usage(c, fmt.Errorf("--jvm-flags %s is no JSON list of words", oci.Quote(x.flags[0])))
		}
	}
	for _, f := range x.o.JVMFlags {
		if strings.HasPrefix(f, "-") && strings.Contains(f, " -") {
			x.a.note("--jvm-flags %s is one word for java: give each flag by itself", oci.Quote(f))
		}
	}
	j, err := o.job(jar.New(args[0], x.o), o.edit.Targets...)
	return []dray.BuildJob{j}, err
}
