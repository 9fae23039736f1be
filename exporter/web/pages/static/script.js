// Everything can be read without this. It sends what the forms of an anomaly say, and keeps the overview fresh.
"use strict";

const REFRESH = 30_000;

function arm(form) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const said = form.querySelector(".said");
    const fields = Object.fromEntries(new FormData(form, event.submitter));
    const buttons = form.querySelectorAll("button");
    buttons.forEach((one) => (one.disabled = true));
    said.className = "said muted";
    said.textContent = "Sending …";
    try {
      const answer = await fetch(form.dataset.send, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(fields),
      });
      const content = await answer.json().catch(() => ({}));
      if (!answer.ok) {
        throw new Error(content.error || `${answer.status} ${answer.statusText}`);
      }
      said.className = "said good";
      said.textContent = form.dataset.done;
    } catch (fault) {
      said.className = "said bad";
      said.textContent = `Not done: ${fault.message}`;
      buttons.forEach((one) => (one.disabled = false));
    }
  });
}

// Nothing moves under the hands of somebody who types, selects, or walks the page by keyboard.
function isBusy(main) {
  return document.hidden || main.contains(document.activeElement) || String(document.getSelection());
}

async function refresh(main) {
  if (isBusy(main)) {
    return;
  }
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) {
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (isBusy(main)) {
      return;
    }
    main.replaceChildren(...page.querySelector("main").childNodes);
    document.querySelector("footer").replaceWith(page.querySelector("footer"));
  } catch {
    // The exporter is away for a moment; what is on the page says how old it is.
  }
}

document.querySelectorAll("form[data-send]").forEach(arm);
const main = document.querySelector("main[data-fresh]");
if (main) {
  setInterval(refresh, REFRESH, main);
}
