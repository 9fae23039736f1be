"""The dashboards of Grafana, made from code: ``python -m grafana_dashboards`` (or ``make dashboards``) writes them.

``anomalies.json`` shows what the exporter says, ``exporter.json`` how it is itself. Import them in Grafana, or have
them provisioned as deploy/docker does it.
"""
