package cli

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

// assign gives the fields of a model's command what its command line says, or else their defaults. It does what kong's Parse does, in
// the same words; but kong looks for hooks by the names of methods, so that in a program that calls Parse the linker has to keep every
// exported method of every type, 0.7 MB of them (alecthomas/kong#547). And kong's strings go through JSON, which has no place for
// bytes that are not UTF-8: here, a name keeps every byte.
func assign(model *kong.Node, opts []setting, operands []string) error {
	for _, o := range opts {
		if err := set(o.flag.Value, o.value); err != nil {
			return err
		}
	}
	for _, p := range model.Positional {
		n := min(1, len(operands))
		if p.IsCumulative() {
			n = len(operands)
		}
		for _, operand := range operands[:n] {
			if err := set(p, operand); err != nil {
				return err
			}
		}
		operands = operands[n:]
	}
	for _, v := range model.Values() {
		if err := settle(v); err != nil {
			return err
		}
	}
	return nil
}

// settle gives v its default if it was not set, and makes sure that it is one of its choices.
func settle(v *kong.Value) error {
	if v.HasDefault && !v.Set {
		if err := set(v, v.Default); err != nil {
			return err
		}
	}
	if v.Enum == "" || v.Required && !v.Set {
		return nil
	}
	var choices []string
	value := fmt.Sprint(v.Target)
	for _, choice := range v.EnumSlice() {
		if choice == value {
			return nil
		}
		choices = append(choices, strconv.Quote(choice))
	}
	return fmt.Errorf("%s must be one of %s but got %q", v.ShortSummary(), strings.Join(choices, ","), value)
}

// set gives v a value. A list grows by it.
func set(v *kong.Value, text string) error {
	var err error
	switch {
	case v.IsCounter():
		v.Target.SetInt(v.Target.Int() + 1)
	case v.IsSlice():
		one := reflect.New(v.Target.Type().Elem()).Elem()
		if err = decode(one, text); err == nil {
			v.Target.Set(reflect.Append(v.Target, one))
		}
	case v.IsBool():
		v.Target.SetBool(true)
	default:
		err = decode(v.Target, text)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.ShortSummary(), err)
	}
	v.Set = true
	return nil
}

// decode reads one value: of a type that says how, or a number as Go writes them, or text.
func decode(target reflect.Value, text string) error {
	if own, ok := target.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return own.UnmarshalText([]byte(text))
	}
	switch target.Kind() {
	case reflect.String:
		target.SetString(text)
	case reflect.Int:
		n, err := strconv.ParseInt(text, 0, strconv.IntSize)
		if err != nil {
			return fmt.Errorf("expected a valid %d bit int but got %q", strconv.IntSize, text)
		}
		target.SetInt(n)
	case reflect.Uint:
		n, err := strconv.ParseUint(text, 0, strconv.IntSize)
		if err != nil {
			return fmt.Errorf("expected a valid %d bit uint but got %q", strconv.IntSize, text)
		}
		target.SetUint(n)
	default:
		return fmt.Errorf("a %v cannot be given", target.Type())
	}
	return nil
}
