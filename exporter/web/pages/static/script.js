// The pages work without this script. It sends the forms of an anomaly, and refreshes the overview.
"use strict";

const REFRESH = 30_000;

function arm(form) {
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const status = form.querySelector(".said");
    const fields = Object.fromEntries(new FormData(form, event.submitter));
    const buttons = form.querySelectorAll("button");
    buttons.forEach((button) => (button.disabled = true));
    status.className = "said muted";
    status.textContent = "Sending …";
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
      status.className = "said good";
      status.textContent = form.dataset.done;
    } catch (fault) {
      status.className = "said bad";
      status.textContent = `Not done: ${fault.message}`;
      buttons.forEach((button) => (button.disabled = false));
    }
  });
}

// The page is not refreshed while the user types, selects text, or moves by keyboard.
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
    // The exporter does not answer; the page shows how old it is.
  }
}

document.querySelectorAll("form[data-send]").forEach(arm);
const main = document.querySelector("main[data-fresh]");
if (main) {
  setInterval(refresh, REFRESH, main);
}
