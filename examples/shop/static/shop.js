// Makes the forms smoother and fills the front page. Without it they work all the same: see pages.py.

const one = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

class Trouble extends Error {}

async function ask(path, method = "GET", body) {
  const json = body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  let response;
  try {
    response = await fetch(path, { method, ...json });
  } catch {
    throw new Trouble("The shop cannot be reached. Your cart is safe. Please try again in a moment.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Trouble(answer.error?.text ?? "That did not work. Please try again in a moment.");
  return answer;
}

// The page may come from a cache, so that the browser has no cookie yet. Then the first call as its visitor goes alone,
// and brings one; the others wait for it. What all share, like the products, needs no visitor.

let isKnown = false;
let first = null;

async function askAsVisitor(...call) {
  while (!isKnown && first) await first.catch(() => {});
  if (isKnown) return ask(...call);
  first = ask(...call);
  try {
    const answer = await first;
    isKnown = true;
    return answer;
  } finally {
    first = null;
  }
}

// What is said in passing

let silence;

function say(text) {
  const status = one("[data-status]");
  clearTimeout(silence);
  status.textContent = "";
  requestAnimationFrame(() => { status.textContent = text; }); // a text that comes twice is read twice
  silence = setTimeout(() => { status.textContent = ""; }, 6000);
}

async function attempt(button, work) {
  if (button?.hasAttribute("aria-busy")) return;
  button?.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    say(error.message);
  } finally {
    button?.removeAttribute("aria-busy");
  }
}

// The cart

function showCount(cart) {
  const badge = one("[data-count]");
  badge.textContent = cart.count || "";
  badge.hidden = !cart.count;
  badge.removeAttribute("data-unknown");
}

function showCart(cart) {
  showCount(cart);
  const lines = new Map(cart.lines.map((line) => [line.id, line]));
  for (const row of all("[data-line]")) {
    const line = lines.get(row.dataset.line);
    if (line) showLine(row, line);
    else row.remove();
  }
  one("[data-subtotal]").textContent = cart.subtotal;
  one("[data-things]").textContent = cart.count;
  one("[data-cart]").hidden = !cart.lines.length;
  one("[data-empty]").hidden = Boolean(cart.lines.length);
}

function showLine(row, line) {
  one("input", row).value = line.quantity;
  one("input", row).defaultValue = line.quantity;
  one("[data-total]", row).textContent = line.total;
  one("[data-notice]", row).textContent = line.notice;
  one("[value='-1']", row).disabled = line.quantity <= 1;
}

const linePath = (form) => `/api/cart/lines/${encodeURIComponent(form.closest("[data-line]").dataset.line)}`;

const deeds = {
  async add(form) {
    const cart = await askAsVisitor("/api/cart/lines", "POST", { product_id: form.elements.product_id.value, quantity: 1 });
    showCount(cart);
    say(cart.message);
  },
  async change(form, button) {
    const input = form.elements.quantity;
    const quantity = Number(input.value) + Number(button?.value || 0);
    try {
      const cart = await askAsVisitor(linePath(form), "PATCH", { quantity });
      showCart(cart);
      say(cart.message);
    } catch (error) {
      input.value = input.defaultValue;
      throw error;
    }
  },
  async remove(form) {
    const next = form.closest("[data-line]").nextElementSibling ?? form.closest("[data-line]").previousElementSibling;
    const cart = await askAsVisitor(linePath(form), "DELETE");
    showCart(cart);
    say(cart.message);
    (next ? one("[data-remove] button", next) : one("main")).focus();
  },
};

document.addEventListener("submit", (event) => {
  const form = event.target;
  const deed = Object.keys(deeds).find((name) => name in form.dataset);
  if (!deed) return;
  event.preventDefault();
  const button = event.submitter;
  attempt(button, () => deeds[deed](form, button));
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-change] input")) event.target.form.requestSubmit();
});

// The front page: its six calls go out at once; one of them is the visitor's

function cardOf(product) {
  const card = one("#card").content.firstElementChild.cloneNode(true);
  card.dataset.product = product.id;
  fill(card, product);
  return card;
}

function fill(place, product) {
  one("[data-name]", place).textContent = product.name;
  one("[data-price]", place).textContent = product.price;
  one("[name=product_id]", place).value = product.id;
  const button = one("button", place);
  button.setAttribute("aria-label", `Add ${product.name} to the cart`);
  button.disabled = !product.in_stock;
  if (!product.in_stock) button.textContent = "Sold out";
  picture(place, product);
}

function picture(place, product) {
  one("[data-picture] use", place)?.setAttribute("href", `/static/pictures.svg#${product.picture}`);
}

async function fillShelf(shelf, index, offset) {
  const { products } = await ask(`/api/products?offset=${offset}&limit=2`);
  for (const place of all(`[data-shelf="${index}"]`, shelf)) {
    const product = products.shift();
    place.replaceWith(...(product ? [cardOf(product)] : []));
  }
}

async function feature(hero) {
  const [product] = (await ask(hero.dataset.featured)).products;
  if (!product) return;
  fill(hero, product);
  one("[data-offer]", hero).hidden = false;
}

async function openFront(shelf) {
  const trouble = one("[data-shelf-trouble]");
  const offsets = shelf.dataset.shelves.split(" ");
  const waiting = offsets.map((offset, index) => [offset, index]).filter(([, index]) => one(`[data-shelf="${index}"]`, shelf));
  const hero = one("[data-featured]");
  trouble.hidden = true;
  const calls = waiting.map(([offset, index]) => fillShelf(shelf, index, offset));
  if (one("[data-offer]", hero).hidden) calls.push(feature(hero));
  calls.push(askAsVisitor("/api/cart").then(showCount));
  const failed = (await Promise.allSettled(calls)).find((call) => call.status === "rejected");
  shelf.setAttribute("aria-busy", "false");
  if (failed) {
    one("span", trouble).textContent = failed.reason.message;
    trouble.hidden = false;
  }
}

// A login that was refused comes back without the email address, which should be in no address bar: the tab keeps it

function tabStorage() {
  try {
    return sessionStorage;
  } catch {
    return null; // the browser keeps nothing for this shop
  }
}

function rememberEmail(event) {
  const input = event.target.elements.email;
  if (input) tabStorage()?.setItem("email", JSON.stringify([input.id, input.value]));
}

function fillEmail() {
  const [id, email] = JSON.parse(tabStorage()?.getItem("email") ?? "[]");
  tabStorage()?.removeItem("email");
  const input = id && one("[data-error]") && document.getElementById(id);
  if (!input) return;
  input.value = email;
  input.form.elements.password?.focus();
}

// The visitor's state; asking for it calls nobody

function duration(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

async function showVisitor() {
  const state = await askAsVisitor("/api/visitor").catch(() => ({})); // an ornament: whoever does not get it misses nothing
  if (!state.visitor) return;
  one("[data-visitor-line]").textContent = `${state.role === "member" ? "Member" : "Visitor"} ${state.visitor}, token good for ${duration(state.expires_in)}`;
}

function tick() {
  const left = one("[data-state=expires_in]");
  const age = one("[data-state=token_age]");
  const start = performance.now();
  const was = [left, age].map((place) => Number(place.dataset.seconds));
  setInterval(() => {
    const passed = Math.floor((performance.now() - start) / 1000);
    left.textContent = duration(Math.max(0, was[0] - passed));
    age.textContent = duration(was[1] + passed);
    one("progress").value = Math.max(0, was[0] - passed);
  }, 1000);
}

async function open() {
  for (const form of all("[data-sign-in] form")) form.addEventListener("submit", rememberEmail);
  fillEmail();
  const told = one("[data-status]").textContent;
  if (told) {
    say(told);
    history.replaceState(null, "", location.pathname); // so that a reload does not tell it again
  }
  const shelf = one("[data-shelves]");
  if (shelf) {
    all(".waiting", shelf).forEach((place, index) => { place.dataset.shelf = Math.floor(index / 2); });
    one("[data-again]").addEventListener("click", (event) => {
      attempt(event.target, () => openFront(shelf)).then(showVisitor);
    });
    await openFront(shelf);
  } else if (one("[data-count][data-unknown]") && one("[data-visitor], [data-cart], [data-products], [data-sign-in], [data-thanks]")) {
    await attempt(null, async () => showCount(await askAsVisitor("/api/cart")));
  }
  if (one("[data-state=expires_in]")) tick();
  await showVisitor();
}

open();
