{{- define "ringway.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "ringway.selector" -}}
app.kubernetes.io/name: ringway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ringway.labels" -}}
{{ include "ringway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
