package main

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

type labelSet map[string]string

// quantity answers the canonical form of Text, and how it compares to Other.
func quantity(asked request) (answer, error) {
	one, err := resource.ParseQuantity(asked.Text)
	if err != nil {
		return answer{}, err
	}
	other, err := resource.ParseQuantity(asked.Other)
	if err != nil {
		return answer{}, err
	}
	number, suffix := one.CanonicalizeBytes(nil)
	return answer{Text: string(number) + string(suffix), Number: one.Cmp(other)}, nil
}

// selector answers whether Text selects Labels, and its canonical form.
func selector(asked request) (answer, error) {
	parsed, err := labels.Parse(asked.Text)
	if err != nil {
		return answer{}, err
	}
	return answer{Text: parsed.String(), Yes: parsed.Matches(labels.Set(asked.Labels))}, nil
}

// name answers what is wrong with Text, by each rule.
func name(asked request) (answer, error) {
	said := answer{}
	for rule, check := range map[string]func(string) []string{
		"subdomain": validation.IsDNS1123Subdomain,
		"label":     validation.IsDNS1123Label,
		"dns1035":   validation.IsDNS1035Label,
		"qualified": validation.IsQualifiedName,
		"value":     validation.IsValidLabelValue,
	} {
		if asked.Other == rule {
			said.Text = strings.Join(check(asked.Text), "\n")
		}
	}
	return said, nil
}
