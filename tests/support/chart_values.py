"""Values for the chart that switch everything on, for the tests that look at all of it."""

from typing import Any

__all__ = ["EVERYTHING", "MODES", "POD_MONITOR"]

_MONITOR = {
    "enabled": True,
    "namespace": "monitoring",
    "labels": {"release": "prometheus"},
    "annotations": {"example.com/why": "metrics"},
    "interval": "30s",
    "scrapeTimeout": "10s",
    "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
    "metricRelabelings": [{"action": "labeldrop", "regex": "endpoint"}],
}

EVERYTHING: dict[str, Any] = {
    "global": {"anything": "goes"},
    "commonLabels": {"team": "platform"},
    "security": {"requireSecretLabel": True},
    "serviceAccountTokens": {"enabled": True},
    "crds": {"annotations": {"example.com/why": "crds"}, "labels": {"kept": "yes"}},
    "image": {"digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "pull"}],
    "serviceAccount": {
        "annotations": {"example.com/role": "springline"},
        "labels": {"identity": "workload"},
    },
    "listen": {"host": "[::]", "port": 9090},
    "metrics": {
        "perObject": False,
        "service": {"port": 80, "annotations": {"example.com/a": "b"}, "labels": {"scrape": "me"}},
        "serviceMonitor": _MONITOR,
    },
    "dashboard": {
        "enabled": True,
        "namespace": "monitoring",
        "labels": {"shown": "yes"},
        "annotations": {"example.com/why": "dashboard"},
        "folder": "Brokers",
    },
    "prometheusRule": {
        "enabled": True,
        "namespace": "monitoring",
        "labels": {"release": "prometheus"},
        "annotations": {"example.com/why": "alerts"},
        "interval": "30s",
        "job": "springline",
        "runbookURL": "https://docs.example.com/runbooks/{alert}.html",
        "alertLabels": {"team": "messaging"},
        "alerts": {"SpringlineBlockUnseen": {"enabled": False}, "SpringlineDown": {"for": "1m"}},
    },
    "networkPolicy": {
        "enabled": True,
        "ingressFrom": [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
        ],
        "egress": [
            {
                "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
                "ports": [{"port": 5671, "protocol": "TCP"}],
            },
            {"ports": [{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}]},
        ],
    },
    "podDisruptionBudget": {"enabled": True},
    "probes": {"liveness": {"initialDelaySeconds": 5, "successThreshold": 1}},
    "deploymentAnnotations": {"example.com/why": "deployment"},
    "podAnnotations": {"example.com/why": "pod"},
    "podLabels": {"team": "messaging"},
    "affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 1,
                    "preference": {
                        "matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]
                    },
                }
            ]
        }
    },
    "tolerations": [{"key": "infra", "operator": "Exists", "effect": "NoSchedule"}],
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/part-of": "springline"}},
        }
    ],
    # One that every cluster has.
    "priorityClassName": "system-cluster-critical",
    "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["rabbit.example.com"]}],
    "dnsPolicy": "None",
    "dnsConfig": {
        "nameservers": ["10.0.0.10"],
        "searches": ["svc.cluster.local"],
        "options": [{"name": "ndots", "value": "2"}],
    },
    "extraArgs": ["--log-level=debug"],
    "extraEnv": [{"name": "SSL_CERT_DIR", "value": "/certificates"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more", "optional": True}}],
    "extraVolumes": [{"name": "certificates", "configMap": {"name": "certificates"}}],
    "extraVolumeMounts": [{"name": "certificates", "mountPath": "/certificates", "readOnly": True}],
}

# There is one monitor or the other.
POD_MONITOR: dict[str, Any] = {
    "metrics": {"serviceMonitor": {"enabled": False}, "podMonitor": _MONITOR}
}

# What the operator looks after, in every way there is.
MODES: dict[str, dict[str, Any]] = {
    "the cluster": {},
    "the cluster without ClusterBrokers": {"watch": {"clusterBrokers": False}},
    "two namespaces": {"watch": {"namespaces": ["orders", "billing"]}},
    "two namespaces and ClusterBrokers": {
        "watch": {"namespaces": ["orders", "billing"], "clusterBrokers": True}
    },
}
