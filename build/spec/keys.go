// SPDX-License-Identifier: Apache-2.0

package spec

import "slices"

// A Form is what a value looks like.
type Form int

// The forms of values.
const (
	Text   Form = iota // a string, number or boolean, taken as it is written
	List               // one text or a list of them: the flag is set for each
	Words              // a list of texts, which are one value
	Pairs              // keys with texts: the flag is set to KEY=VALUE for each
	Switch             // true or false
	Object             // keys with texts, numbers or lists of texts, which are one value
	Places             // a list of objects with from, and maybe to, owner, mode and keep: SRC[:DEST][,chown=…][,chmod=…][,keep-…]
)

// A Key is something that dray.yaml can say of a build. It stands for a flag of
// dray build, or for its arguments.
type Key struct {
	Name string
	Form Form
	Flag string   // that it sets; "", and for Places of Files: the key makes arguments
	Of   []string // kinds that have it; none: all
	Own  bool     // it is of one build and no default
	Vars bool     // ${NAME} in its texts is a variable of the environment
	Tmpl bool     // its texts are templates of ko: a variable is {{.Env.NAME}} there, which tells its value to nobody
	Path bool     // its texts are paths, relative to the directory of the file
	Pkg  bool     // its texts are paths if they begin with a dot, else import paths
	Doc  string
}

// Kinds of builds.
const (
	Go         = "go"
	Dockerfile = "dockerfile"
	Files      = "files"
	Jar        = "jar"
)

// Kinds are all kinds of builds.
var Kinds = []string{Go, Dockerfile, Files, Jar}

// Keys are what a build can say beside its name and kind, in the order of the
// documentation. The reader, the schema and the documentation are made of this
// table.
var Keys = []Key{
	{Name: "main", Form: List, Of: []string{Go}, Own: true, Pkg: true, Doc: "The programs: directories that begin with `./`, or import paths. Several are put into one image, which starts the first."},
	{Name: "context", Form: Text, Of: []string{Dockerfile}, Own: true, Path: true, Doc: "The directory that files are copied from; without it that of dray.yaml."},
	{Name: "jar", Form: Text, Of: []string{Jar}, Own: true, Path: true, Doc: "The jar or WAR."},
	{Name: "files", Form: Places, Flag: "file", Of: []string{Files, Go}, Own: true, Path: true, Doc: "What is put into the image, each as a layer of its own; of a Go build beside the programs."},
	{Name: "tags", Form: List, Flag: "tag", Own: true, Vars: true, Doc: "Where the image goes with `--push`: references as `-t` takes them."},

	{Name: "flags", Form: List, Flag: "go-flag", Of: []string{Go}, Vars: true, Tmpl: true, Doc: "Flags of `go build`, as `-tags=netgo`, with the templates of ko."},
	{Name: "ldflags", Form: List, Flag: "ldflags", Of: []string{Go}, Vars: true, Tmpl: true, Doc: "Flags of the linker, with the templates of ko."},
	{Name: "capabilities", Form: List, Flag: "capability", Of: []string{Go}, Doc: "Capabilities that the programs' files have on Linux, as `net_bind_service`."},
	{Name: "debug", Form: Switch, Flag: "debug", Of: []string{Go}, Doc: "Whether the debugger `dlv` starts the program and listens on port 40000."},
	{Name: "disableOptimizations", Form: Switch, Flag: "disable-optimizations", Of: []string{Go}, Doc: "Whether to compile for debugging."},
	{Name: "config", Form: Text, Flag: "config", Of: []string{Go}, Path: true, Doc: "The file or directory that is read as `.ko.yaml`."},
	{Name: "noDetect", Form: Switch, Flag: "no-detect", Of: []string{Files}, Doc: "Whether programs are plain files, whatever they are for."},
	{Name: "dockerfile", Form: Text, Flag: "file", Of: []string{Dockerfile}, Own: true, Path: true, Doc: "The Dockerfile; without it that of the context."},
	{Name: "target", Form: Text, Flag: "target", Of: []string{Dockerfile}, Own: true, Doc: "The stage that is built; without it the last."},
	{Name: "args", Form: Pairs, Flag: "build-arg", Of: []string{Dockerfile}, Vars: true, Doc: "Build arguments."},
	{Name: "contexts", Form: Pairs, Flag: "build-context", Of: []string{Dockerfile}, Path: true, Doc: "Directories, or `docker-image://REF` and the like, in the place of stages and images."},
	{Name: "mode", Form: Text, Flag: "mode", Of: []string{Jar}, Doc: "`exploded`, `packaged` or `thin`."},
	{Name: "mainClass", Form: Text, Flag: "main-class", Of: []string{Jar}, Own: true, Doc: "The class that is started."},
	{Name: "jvmFlags", Form: Words, Flag: "jvm-flags", Of: []string{Jar}, Doc: "Flags for java."},
	{Name: "appRoot", Form: Text, Flag: "app-root", Of: []string{Jar}, Doc: "The directory of the image that all is put into."},

	{Name: "from", Form: List, Flag: "from", Vars: true, Doc: "The base, or several of them: a reference, `scratch`, or `scratch+certs`."},
	{Name: "caCerts", Form: List, Flag: "ca-certs", Path: true, Doc: "Files of certificates (PEM) that the base `scratch+certs` trusts too; means nothing on other bases."},
	{Name: "deep", Form: Switch, Flag: "deep", Doc: "Whether bases are read for links below every name."},
	{Name: "platforms", Form: List, Flag: "platform", Doc: "The platforms, as `os/arch[/variant][:os.version]`, or `all` that the base has."},
	{Name: "env", Form: Pairs, Flag: "env", Doc: "Variables of the image's environment."},
	{Name: "labels", Form: Pairs, Flag: "label", Vars: true, Doc: "Labels of the image."},
	{Name: "annotations", Form: Pairs, Flag: "annotation", Vars: true, Doc: "Annotations of the images; a key that begins with `index:` is one of the index."},
	{Name: "entrypoint", Form: Words, Flag: "entrypoint", Doc: "The program that runs, with its first arguments."},
	{Name: "cmd", Form: Words, Flag: "cmd", Doc: "Arguments that whoever runs the image can replace."},
	{Name: "shell", Form: Words, Flag: "shell", Doc: "The shell of commands that are one text."},
	{Name: "user", Form: Text, Flag: "user", Doc: "Who the program runs as: a name, `UID`, or `UID:GID`."},
	{Name: "workdir", Form: Text, Flag: "workdir", Doc: "The directory that the program starts in."},
	{Name: "ports", Form: List, Flag: "exposed-port", Doc: "Ports that the program listens on, as `8080` or `53/udp`."},
	{Name: "volumes", Form: List, Flag: "volume", Doc: "Directories that are volumes."},
	{Name: "stopSignal", Form: Text, Flag: "stop-signal", Doc: "The signal that ends the program."},
	{Name: "healthcheck", Form: Object, Flag: "healthcheck", Doc: "The health check: `Test`, `Interval`, `Timeout`, `StartPeriod`, `StartInterval`, `Retries`; times are as `30s`."},
	{Name: "onbuild", Form: Words, Flag: "onbuild", Doc: "What a Dockerfile that begins with the image does first."},
	{Name: "osVersion", Form: Text, Flag: "os-version", Doc: "The version of the operating system."},
	{Name: "osFeatures", Form: List, Flag: "os-feature", Doc: "What the operating system must have."},
	{Name: "removeEnv", Form: List, Flag: "remove-env", Doc: "Variables that are taken out of what the base has."},
	{Name: "removeLabels", Form: List, Flag: "remove-label", Doc: "Labels that are taken out."},
	{Name: "removeAnnotations", Form: List, Flag: "remove-annotation", Doc: "Annotations that are taken out."},
	{Name: "removePorts", Form: List, Flag: "remove-exposed-port", Doc: "Ports that are taken out."},
	{Name: "removeVolumes", Form: List, Flag: "remove-volume", Doc: "Volumes that are taken out."},
	{Name: "unset", Form: List, Flag: "unset", Doc: "Members of the base's config that are taken out, as `healthcheck`; `dray mutate --help` lists them."},
	{Name: "sbom", Form: List, Flag: "sbom", Doc: "Bills of materials to attach: `spdx`, `cyclonedx`, or `none`."},
	{Name: "sbomTag", Form: Switch, Flag: "sbom-tag", Doc: "Whether bills of materials are under tags `sha256-….sbom` too."},
	{Name: "provenance", Form: Switch, Flag: "provenance", Doc: "Whether to attach how the image was built."},
	{Name: "author", Form: Text, Flag: "author", Doc: "Who made the image."},
}

// find is the key of a name; nil if there is none.
func find(name string) *Key {
	if n := slices.IndexFunc(Keys, func(k Key) bool { return k.Name == name }); n >= 0 {
		return &Keys[n]
	}
	return nil
}

// of reports whether builds of a kind have the key.
func (k *Key) of(kind string) bool { return len(k.Of) == 0 || slices.Contains(k.Of, kind) }
