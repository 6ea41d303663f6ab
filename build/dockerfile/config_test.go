// SPDX-License-Identifier: Apache-2.0

package dockerfile_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dray-tools/dray/build"
	"github.com/dray-tools/dray/build/dockerfile"
)

// Each case is a Dockerfile, and what the config object has then. A member that
// is not named is that of the base.
func TestConfig(t *testing.T) {
	t.Parallel()
	path := `"PATH=/bin","FROM=base"`
	for name, c := range map[string]struct {
		file string
		args string // NAME=VALUE of --build-arg
		want []string
	}{
		"nothing":                    {"FROM base", "", nil},
		"env":                        {"FROM base\nENV A=1 B=\"two words\" C='$A'", "", []string{`Env=[` + path + `,"A=1","B=two words","C=$A"]`}},
		"env, old form":              {"FROM base\nENV A one two", "", []string{`Env=[` + path + `,"A=one two"]`}},
		"env in its place":           {"FROM base\nENV FROM=here", "", []string{`Env=["PATH=/bin","FROM=here"]`}},
		"pairs see the state before": {"FROM base\nENV A=1\nENV A=2 B=$A", "", []string{`Env=[` + path + `,"A=2","B=1"]`}},
		"modifiers":                  {"FROM base\nENV A=a.tar.gz\nENV B=${A%.gz} C=${A%%.*} D=${A#a.} E=${A##*.} F=${N:-d} G=${A:+s} H=${A/a/o} I=${A//a/o}", "", []string{`Env=[` + path + `,"A=a.tar.gz","B=a.tar","C=a","D=tar.gz","E=gz","F=d","G=s","H=o.tar.gz","I=o.tor.gz"]`}},
		"escaped dollar":             {"FROM base\nENV A=1\nENV B=\\$A C='${A}'", "", []string{`Env=[` + path + `,"A=1","B=$A","C=${A}"]`}},
		"PATH is added":              {"FROM bare", "", []string{`Env=["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]`}},
		"scratch":                    {"FROM scratch\nUSER 1", "", []string{`Env=["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]`, `User="1"`, `WorkingDir="/"`}},

		"arg":                             {"FROM base\nARG A=1\nARG B=$A-2\nENV C=$B", "", []string{`Env=[` + path + `,"C=1-2"]`}},
		"arg that is given":               {"FROM base\nARG A=1\nENV C=$A", "A=given", []string{`Env=[` + path + `,"C=given"]`}},
		"arg that is given to nobody":     {"FROM base\nENV C=x$A", "A=given", []string{`Env=[` + path + `,"C=x"]`}},
		"arg before it is declared":       {"FROM base\nENV B=x$A\nARG A=1", "", []string{`Env=[` + path + `,"B=x"]`}},
		"two args in one line":            {"FROM base\nARG A=1 B=$A\nENV C=$B", "", []string{`Env=[` + path + `,"C=1"]`}},
		"env beats arg, after":            {"FROM base\nARG A=arg\nENV A=env\nENV B=$A", "A=given", []string{`Env=[` + path + `,"A=env","B=env"]`}},
		"env beats arg, before":           {"FROM base\nENV A=env\nARG A=arg\nENV B=$A", "A=given", []string{`Env=[` + path + `,"A=env","B=env"]`}},
		"env of the base beats arg":       {"FROM base\nARG FROM=arg\nLABEL l=$FROM", "", []string{`Labels={"a":"base","l":"base"}`}},
		"arg as a default of env":         {"FROM base\nARG A\nENV A=${A:-v1}", "A=v2", []string{`Env=[` + path + `,"A=v2"]`}},
		"global arg is not seen":          {"ARG A=1\nFROM base\nENV B=x$A", "", []string{`Env=[` + path + `,"B=x"]`}},
		"global arg is taken":             {"ARG A=1\nFROM base\nARG A\nENV B=x$A", "", []string{`Env=[` + path + `,"B=x1"]`}},
		"global arg that is given":        {"ARG A=1\nFROM base\nARG A\nENV B=x$A", "A=2", []string{`Env=[` + path + `,"B=x2"]`}},
		"global arg, own default":         {"ARG A=1\nFROM base\nARG A=3\nENV B=x$A", "", []string{`Env=[` + path + `,"B=x3"]`}},
		"global arg in the name":          {"ARG N=ba\nARG M=${N}se\nFROM ${M}", "", nil},
		"args of an earlier stage":        {"FROM base AS one\nARG A=1\nFROM one\nENV B=$A", "", []string{`Env=[` + path + `,"B=1"]`}},
		"args of another stage":           {"FROM base AS one\nARG A=1\nFROM base\nENV B=x$A", "", []string{`Env=[` + path + `,"B=x"]`}},
		"platform args":                   {"FROM base\nARG TARGETPLATFORM\nARG TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM TARGETSTAGE\nENV A=$TARGETPLATFORM,$TARGETOS,$TARGETARCH,$TARGETVARIANT,$BUILDPLATFORM,$TARGETSTAGE", "", []string{`Env=[` + path + `,"A=linux/amd64,linux,amd64,,linux/amd64,default"]`}},
		"platform args are not there":     {"FROM base\nENV A=x$TARGETARCH", "", []string{`Env=[` + path + `,"A=x"]`}},
		"platform args that are given":    {"FROM base\nARG TARGETARCH\nENV A=$TARGETARCH", "TARGETARCH=mine", []string{`Env=[` + path + `,"A=mine"]`}},
		"the stage's name":                {"FROM base AS Last\nARG TARGETSTAGE\nENV A=$TARGETSTAGE", "", []string{`Env=[` + path + `,"A=last"]`}},
		"default of arg that is not used": {"FROM base\nARG A=${N:?none}\nENV B=$A", "A=1", []string{`Env=[` + path + `,"B=1"]`}},

		"cmd":                             {"FROM base\nCMD [\"a\", \"b c\"]", "", []string{`ArgsEscaped=true`, `Cmd=["a","b c"]`}},
		"cmd, shell form":                 {"FROM base\nCMD a \"b c\" $D", "", []string{`ArgsEscaped=true`, `Cmd=["/bin/sh","-c","a \"b c\" $D"]`}},
		"cmd with the wrong quotes":       {"FROM base\nCMD ['a']", "", []string{`ArgsEscaped=true`, `Cmd=["/bin/sh","-c","['a']"]`}},
		"cmd of no words":                 {"FROM base\nCMD []", "", []string{`ArgsEscaped=true`, `Cmd=`}},
		"shell":                           {"FROM base\nSHELL [\"/bin/bash\", \"-c\"]\nCMD a", "", []string{`ArgsEscaped=true`, `Cmd=["/bin/bash","-c","a"]`, `Shell=["/bin/bash","-c"]`}},
		"entrypoint clears cmd":           {"FROM base\nENTRYPOINT [\"a\"]", "", []string{`Cmd=`, `Entrypoint=["a"]`}},
		"entrypoint after cmd":            {"FROM base\nCMD [\"c\"]\nENTRYPOINT a b", "", []string{`ArgsEscaped=true`, `Cmd=["c"]`, `Entrypoint=["/bin/sh","-c","a b"]`}},
		"entrypoint clears an early cmd":  {"FROM base AS one\nCMD [\"c\"]\nFROM one\nENTRYPOINT [\"a\"]", "", []string{`ArgsEscaped=true`, `Cmd=`, `Entrypoint=["a"]`}},
		"entrypoint of no words":          {"FROM base\nENTRYPOINT []", "", []string{`Cmd=`}},
		"labels":                          {"FROM base\nARG V=1\nLABEL a=\"$V\" \"b c\"=d", "", []string{`Labels={"a":"1","b c":"d"}`}},
		"expose":                          {"FROM base\nARG P=\"80 443/UDP\"\nEXPOSE $P 9000-9002/tcp 127.0.0.1:1:2", "", []string{`ExposedPorts={"80/tcp":{},"443/udp":{},"2/tcp":{},"9000/tcp":{},"9001/tcp":{},"9002/tcp":{}}`}},
		"volume":                          {"FROM base\nVOLUME /a /b\nVOLUME [\"/c d\"]", "", []string{`Volumes={"/a":{},"/b":{},"/c d":{}}`}},
		"user":                            {"FROM base\nARG U=app\nUSER ${U}:staff", "", []string{`User="app:staff"`}},
		"stop signal":                     {"FROM base\nARG S=SIGRTMIN+3\nSTOPSIGNAL $S", "", []string{`StopSignal="SIGRTMIN+3"`}},
		"workdir":                         {"FROM base\nENV D=b\nWORKDIR /a\nWORKDIR $D\nWORKDIR ../c", "", []string{`Env=[` + path + `,"D=b"]`, `WorkingDir="/a/c"`}},
		"health":                          {"FROM base\nHEALTHCHECK --interval=5s --timeout=1m --start-period=2s --start-interval=1s --retries=3 CMD a b", "", []string{`Healthcheck={"Test":["CMD-SHELL","a b"],"Interval":5000000000,"Timeout":60000000000,"StartPeriod":2000000000,"StartInterval":1000000000,"Retries":3}`}},
		"health, again":                   {"FROM base\nHEALTHCHECK --interval=5s CMD a\nHEALTHCHECK CMD [\"b\", \"c\"]", "", []string{`Healthcheck={"Test":["CMD","b","c"]}`}},
		"health, none":                    {"FROM base\nHEALTHCHECK NONE", "", []string{`Healthcheck={"Test":["NONE"]}`}},
		"onbuild is kept":                 {"FROM base\nONBUILD COPY . /x\nONBUILD RUN make", "", []string{`OnBuild=["COPY . /x","RUN make"]`}},
		"onbuild of a base":               {"FROM onbuild", "", []string{`Env=["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","BUILT=on"]`, `OnBuild=`, `WorkingDir="/on"`}},
		"onbuild of a stage":              {"FROM base AS one\nONBUILD ENV A=$FROM\nFROM one AS two\nFROM two", "", []string{`Env=[` + path + `,"A=base"]`, `OnBuild=`}},
		"onbuild of a stage, only its":    {"FROM base AS one\nONBUILD LABEL l=1\nFROM one AS two\nONBUILD LABEL m=2\nFROM two", "", []string{`Labels={"a":"base","l":"1","m":"2"}`, `OnBuild=`}},
		"stage names have no case":        {"FROM base AS One\nENV A=1\nFROM ONE", "", []string{`Env=[` + path + `,"A=1"]`}},
		"the last of a name":              {"FROM base AS one\nENV A=1\nFROM base AS one\nENV A=2\nFROM one", "", []string{`Env=[` + path + `,"A=2"]`}},
		"byte order mark and continuing":  {"\ufeffFROM base\nENV A=1 \\\n# a comment\n B=2", "", []string{`Env=[` + path + `,"A=1","B=2"]`}},
		"directive escape":                {"# escape=`\nFROM base\nENV A=a\\b `\n B=2", "", []string{`Env=[` + path + `,"A=a\\b","B=2"]`}},
		"directive after a comment":       {"# hello\n# escape=`\nFROM base\nENV A=1 \\\n B=2", "", []string{`Env=[` + path + `,"A=1","B=2"]`}},
		"syntax and check are directives": {"# syntax=docker/dockerfile:1\n# check=skip=all\nFROM base\nENV A=1", "", []string{`Env=[` + path + `,"A=1"]`}},
		"check of an instruction":         {"FROM base\n# check=skip=UndefinedVar\nENV A=x$N", "", []string{`Env=[` + path + `,"A=x"]`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := dockerfile.Options{Text: []byte(c.file), Args: map[string]string{}}
			if k, v, ok := strings.Cut(c.args, "="); ok {
				o.Args[k] = v
			}
			b, err := base().build(t, o, build.Want{})
			if err != nil {
				t.Fatal(err)
			}
			was, now := map[string]string{"Env": `["PATH=/bin","FROM=base"]`, "Cmd": `["/bin/sh"]`, "Labels": `{"a":"base"}`}, b.config(t)
			if !strings.Contains(c.file, "FROM base") && !strings.Contains(c.file, "${M}") {
				was = map[string]string{}
			}
			for _, line := range c.want {
				k, v, _ := strings.Cut(line, "=")
				if was[k] = v; v == "" {
					delete(was, k)
				}
			}
			var want, got []string
			for _, k := range slices.Sorted(maps.Keys(was)) {
				want = append(want, k+"="+was[k])
			}
			for _, k := range slices.Sorted(maps.Keys(now)) {
				got = append(got, k+"="+string(now[k]))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("config\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}
