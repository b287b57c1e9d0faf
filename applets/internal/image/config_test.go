package image

import (
	"strings"
	"testing"
	"time"
)

// configOf is the config of an image without layers made of a template and options.
func configOf(t *testing.T, template string, o Options) (string, error) {
	t.Helper()
	if template != "" {
		var err error
		if o.Template, err = ParseTemplate([]byte(template)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Check(); err != nil {
		return "", err
	}
	o.Layers = options(t, pack(t)).Layers
	b, err := newBuild(o)
	if err != nil {
		return "", err
	}
	b.layers = nil
	text, rest, ok := strings.Cut(string(b.config()), `,"rootfs":`)
	if !ok || rest != `{"type":"layers","diff_ids":[]},"history":[]}` {
		t.Errorf("ends with %q", rest)
	}
	return text + "}", nil
}

func TestConfig(t *testing.T) {
	const base = `{"os":"linux","architecture":"arm","created":"x"`
	const made = `{"os":"linux","architecture":"arm","created":"1970-01-01T00:00:00Z"`
	var none, all Options
	none.Created = time.Unix(0, 0)
	all.Created = time.Unix(0, 0)
	all.Settings = Settings{Entrypoint: []string{"/e"}, Cmd: []string{`["a","\u00e9"]`}, Env: []string{"B=2", "A=1"},
		Labels: []string{"l=1=2", "k="}, Expose: []string{"80", "53/udp"}, Volumes: []string{"/v"}, Workdir: "/w",
		User: "1:2", Author: "me", Platform: "freebsd/arm64/v8"}
	for _, c := range []struct {
		template string
		o        Options
		want     string
	}{
		{base + "}", none, made + "}"},
		{base + `,"config":{"Env":null,"Cmd":null,"X":null},"n":1.10}`, none, made + `,"config":{"X":null},"n":1.10}`},
		{base + `,"config":{"Cmd":["/init"],"Env":["A=0","C=3","A=4","B"],"Z":1e400}}`, all,
			`{"os":"freebsd","architecture":"arm64","created":"1970-01-01T00:00:00Z","config":{"Cmd":["a","é"],` +
				`"Env":["A=1","C=3","B=2"],"Z":1e400,"Entrypoint":["/e"],"Labels":{"l":"1=2","k":""},` +
				`"ExposedPorts":{"80/tcp":{},"53/udp":{}},"Volumes":{"/v":{}},"WorkingDir":"/w","User":"1:2"},` +
				`"author":"me","variant":"v8"}`},
		{base + `,"config":{"Cmd":["/init"]}}`, Options{Created: none.Created, Settings: Settings{Cmd: []string{"[]"}}},
			made + `,"config":{}}`},
		{"", Options{Created: none.Created, Settings: Settings{Platform: "linux/amd64"}},
			`{"created":"1970-01-01T00:00:00Z","architecture":"amd64","os":"linux"}`},
	} {
		got, err := configOf(t, c.template, c.o)
		if err != nil || got != c.want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.template, err, got, c.want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	const base = `{"os":"linux","architecture":"arm"`
	for template, want := range map[string]string{
		`{"os":"linux"}`:                              "template has no architecture (say --platform)",
		`{"architecture":"arm","os":""}`:              "template has no os (say --platform)",
		`{"os":1,"architecture":"arm"}`:               "os: must be a string",
		base + `,"config":[]}`:                        "config: must be an object",
		base + `,"config":{"Cmd":"x"}}`:               "config.Cmd: must be a list of strings",
		base + `,"config":{"Env":[1]}}`:               "config.Env: must be a list of strings",
		base + `,"config":{"Labels":{"a":1}}}`:        "config.Labels: must be an object of strings",
		base + `,"config":{"ExposedPorts":{"80":1}}}`: "config.ExposedPorts: must be an object of empty objects",
		base + `,"config":{"User":0}}`:                "config.User: must be a string",
		base + `,"config":{"cmd":["x"]}}`:             "config.cmd: should be spelled Cmd",
		base + `,"Os":"linux"}`:                       "Os: should be spelled os",
		base + `,"RootFS":{}}`:                        "RootFS: should be spelled rootfs",
		base + `,"History":[]}`:                       "History: should be spelled history",
	} {
		if got, err := configOf(t, template, Options{}); err == nil || err.Error() != want {
			t.Errorf("%s: %q, %v, want %q", template, got, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	ok := Options{Tags: []Reference{{"a", "b", "c"}, {"a", "b", "c"}, {"a", "b", "d"}}}
	if err := ok.Check(); err != nil || len(ok.Tags) != 2 {
		t.Errorf("%v, %v", ok.Tags, err)
	}
	for want, o := range map[string]Options{
		"--media=docker: its manifest has no annotations":                  {Docker: true, Annotations: []string{"a=b"}},
		"--media=docker: its layers are not compressed with zstd":          {Docker: true, Compress: "zstd"},
		"--format=v1: its layers are not compressed":                       {Format: V1, Compress: "gzip"},
		"--format=v1: has neither media types nor annotations":             {Format: V1, Compress: "none", Docker: true},
		`--cmd: byte 1: ends where a JSON value should be`:                 {Settings: Settings{Cmd: []string{"["}}},
		`--entrypoint: ["a",1] is not a list of strings`:                   {Settings: Settings{Entrypoint: []string{`["a",1]`}}},
		`--env: "A" is not NAME=VALUE`:                                     {Settings: Settings{Env: []string{"A"}}},
		`--env: "=A" is not NAME=VALUE`:                                    {Settings: Settings{Env: []string{"=A"}}},
		`"A=\xff" is not UTF-8, which JSON cannot hold`:                    {Settings: Settings{Env: []string{"A=\xff"}}},
		`"\xff" is not UTF-8, which JSON cannot hold`:                      {Settings: Settings{Cmd: []string{"\xff"}}},
		`"a=\xff" is not UTF-8, which JSON cannot hold`:                    {Annotations: []string{"a=\xff"}},
		`"k" is not KEY=VALUE`:                                             {Settings: Settings{Labels: []string{"k"}}},
		`"=v" is not KEY=VALUE`:                                            {Annotations: []string{"=v"}},
		`--volume: "v" is not an absolute path`:                            {Settings: Settings{Volumes: []string{"v"}}},
		`--workdir: "v" is not an absolute path`:                           {Settings: Settings{Workdir: "v"}},
		`--platform: "arm64" is not OS/ARCH or OS/ARCH/VARIANT`:            {Settings: Settings{Platform: "arm64"}},
		`--platform: "linux//" is not OS/ARCH or OS/ARCH/VARIANT`:          {Settings: Settings{Platform: "linux//"}},
		`--platform: "Linux/a" is not OS/ARCH or OS/ARCH/VARIANT`:          {Settings: Settings{Platform: "Linux/a"}},
		`--platform: "a/b/c/d" is not OS/ARCH or OS/ARCH/VARIANT`:          {Settings: Settings{Platform: "a/b/c/d"}},
		`--expose: "0" is not PORT, PORT/tcp, PORT/udp or PORT/sctp`:       {Settings: Settings{Expose: []string{"0"}}},
		`--expose: "65536" is not PORT, PORT/tcp, PORT/udp or PORT/sctp`:   {Settings: Settings{Expose: []string{"65536"}}},
		`--expose: "80/http" is not PORT, PORT/tcp, PORT/udp or PORT/sctp`: {Settings: Settings{Expose: []string{"80/http"}}},
	} {
		if err := o.Check(); err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	literal := Options{Settings: Settings{Cmd: []string{"[", "-e", "/x", "]"}}}
	if err := literal.Check(); err != nil || len(literal.Cmd) != 4 {
		t.Errorf("%q, %v", literal.Cmd, err)
	}
}

// A template of any text gives an error or a config that is JSON with our fields.
func FuzzTemplate(f *testing.F) {
	f.Add([]byte(`{"os":"linux","architecture":"a","config":{"Env":["A=1"],"Labels":null,"Volumes":{"/":{}}}}`))
	f.Add([]byte(`{"rootfs":{},"history":[],"created":null}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		template, err := ParseTemplate(in)
		if err != nil {
			return
		}
		s := Settings{Env: []string{"A=2"}, Labels: []string{"l=x"}, Volumes: []string{"/v"}, Platform: "linux/amd64", Cmd: []string{"x"}}
		if template.apply(&s) != nil {
			return
		}
		template.dropNulls()
		b := &build{template: template}
		n, err := parse(b.config())
		if err != nil || n.get("architecture").str != "amd64" || n.get("config").get("Cmd").items[0].str != "x" ||
			n.get("rootfs").get("type").str != "layers" || n.get("config").get("Labels").get("l").str != "x" {
			t.Fatalf("%s: %s %v", in, b.config(), err)
		}
	})
}

func BenchmarkConfig(b *testing.B) {
	text := []byte(`{"os":"linux","architecture":"amd64","created":"x","config":{"Env":["PATH=/bin","LANG=C"],"Cmd":["/bin/sh","-c","\u00e9"],"Labels":{"a":"b"}}}`)
	o := options(b, pack(b, "a"))
	b.ReportAllocs()
	for b.Loop() {
		template, err := ParseTemplate(text)
		if err != nil {
			b.Fatal(err)
		}
		o.Template = template
		made, err := newBuild(o)
		if err != nil {
			b.Fatal(err)
		}
		made.config()
	}
}
