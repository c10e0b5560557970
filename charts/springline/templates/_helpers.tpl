{{/*
Names, labels and rules that several templates share. Overrides and names of releases have 53
characters at most.
*/}}

{{- define "springline.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end -}}

{{- define "springline.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "springline.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* What selects the operator's Pod. It can never be changed, so values have no say in it. */}}
{{- define "springline.selectorLabels" -}}
app.kubernetes.io/name: {{ include "springline.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The Pod of `helm test` must not be selected: another name. */}}
{{- define "springline.testLabels" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "springline.name" .) | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/*
Labels of an object: the chart's, else its own, else those for all objects. As a dictionary, so that
no key is there twice. Takes (list $ labels…), the most important first.
*/}}
{{- define "springline.labels" -}}
{{- $root := first . -}}
{{- $labels := include "springline.selectorLabels" $root | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" ($root.Chart.AppVersion | toString) -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "springline" -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- range append (rest .) $root.Values.commonLabels -}}
{{- $labels = merge $labels . -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end -}}

{{/*
Labels of the operator's Pod, without the chart's version: a new chart is no reason to close every
session.
*/}}
{{- define "springline.podLabels" -}}
{{- $labels := include "springline.selectorLabels" . | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "springline" -}}
{{- toYaml (merge $labels .Values.podLabels .Values.commonLabels) -}}
{{- end -}}

{{- define "springline.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "springline.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "springline.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* "true" if ClusterBrokers are looked after: as the operator decides it itself. */}}
{{- define "springline.clusterBrokers" -}}
{{- if kindIs "invalid" .Values.watch.clusterBrokers -}}
{{- empty .Values.watch.namespaces -}}
{{- else -}}
{{- .Values.watch.clusterBrokers -}}
{{- end -}}
{{- end -}}

{{/* What the operator does in a namespace. Of what is a user's, nothing is written but status. */}}
{{- define "springline.namespacedRules" -}}
- apiGroups: [springline.dev]
  resources: [brokers, brokerconnections]
  verbs: [get, list, watch]
- apiGroups: [springline.dev]
  resources: [brokers/status, brokerconnections/status]
  verbs: [patch]
# What Brokers and BrokerConnections refer to. Watched as metadata alone; read where referred to.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get, list, watch]
# endpointsFrom.service
- apiGroups: [""]
  resources: [services]
  verbs: [get]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- if .Values.binding.enabled }}
# spec.binding: a Secret for applications, written for a BrokerConnection and owned by it.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, update, delete]
{{- end }}
{{- if .Values.serviceAccountTokens.enabled }}
# credentials.serviceAccount
- apiGroups: [""]
  resources: [serviceaccounts/token]
  verbs: [create]
{{- end }}
{{- end -}}

{{/* What ClusterBrokers take, beyond any namespace. */}}
{{- define "springline.clusterBrokerRules" -}}
- apiGroups: [springline.dev]
  resources: [clusterbrokers]
  verbs: [get, list, watch]
- apiGroups: [springline.dev]
  resources: [clusterbrokers/status]
  verbs: [patch]
# allowedNamespaces.selector
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
{{- end -}}

{{/* What a ServiceMonitor and a PodMonitor have in common. Takes one's values. */}}
{{- define "springline.scraping" -}}
port: http
path: /metrics
honorLabels: {{ .honorLabels }}
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What Prometheus calls the operator in the label `job`; empty where the chart cannot know it. */}}
{{- define "springline.job" -}}
{{- $metrics := .Values.metrics -}}
{{- if .Values.prometheusRule.job -}}
{{- .Values.prometheusRule.job -}}
{{- else if $metrics.serviceMonitor.enabled -}}
{{- include "springline.fullname" . -}}
{{- else if $metrics.podMonitor.enabled -}}
{{- printf "%s/%s" (default (include "springline.namespace" .) $metrics.podMonitor.namespace) (include "springline.fullname" .) -}}
{{- end -}}
{{- end -}}
