/* Sorts tables, zooms pictures and reads their numbers; without it nothing is missing. */
"use strict";
(function () {
  document.querySelectorAll("table.sortable").forEach(function (table) {
    var body = table.tBodies[0];
    table.querySelectorAll("thead th").forEach(function (head, index) {
      var button = document.createElement("button");
      button.textContent = head.textContent;
      head.textContent = "";
      head.appendChild(button);
      button.addEventListener("click", function () {
        var up = head.getAttribute("aria-sort") === "descending";
        table.querySelectorAll("thead th").forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        function key(row) {
          var cell = row.cells[index];
          return cell.dataset.key === undefined ? cell.textContent : Number(cell.dataset.key);
        }
        var rows = Array.from(body.rows).sort(function (a, b) {
          var one = key(a), two = key(b);
          return (one < two ? -1 : one > two ? 1 : 0) * (up ? 1 : -1);
        });
        rows.forEach(function (row) { body.appendChild(row); });
      });
    });
  });
  function openTarget() {
    var target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (var up = target; up; up = up.parentElement) { if (up.tagName === "DETAILS") { up.open = true; } }
    if (target) { target.scrollIntoView({block: "center"}); }
  }
  window.addEventListener("hashchange", openTarget);
  openTarget();
  var opened = [];
  window.addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll("details:not(.small):not([open])"));
    opened.forEach(function (each) { each.open = true; });
  });
  window.addEventListener("afterprint", function () { opened.forEach(function (each) { each.open = false; }); });

  document.querySelectorAll("figure.picture").forEach(function (figure) {
    var svg = figure.querySelector("svg.chart"), from = 0, to = 1;
    var plots = Array.from(svg.querySelectorAll("svg.plot"));
    var moved = [];
    svg.querySelectorAll("[x$='%'], [x1$='%']").forEach(function (each) {
      if (each.closest(".fixed") || each.classList.contains("fixed")) { return; }
      ["x", "x1", "x2", "width"].forEach(function (name) {
        var value = each.getAttribute(name) || "";
        if (value.endsWith("%") && each.parentNode !== null) { moved.push([each, name, parseFloat(value) / 100]); }
      });
    });
    function zoom(a, b) {
      if (b - a < 1e-5) { return; }
      from = Math.max(0, a);
      to = Math.min(1, b);
      plots.forEach(function (plot) {
        var units = Number(plot.dataset.units), box = plot.viewBox.baseVal;
        plot.setAttribute("viewBox", from * units + " 0 " + (to - from) * units + " " + box.height);
      });
      moved.forEach(function (each) {
        var place = each[1] === "width" ? each[2] / (to - from) : (each[2] - from) / (to - from);
        each[0].setAttribute(each[1], 100 * place + "%");
        if (each[1] === "x" || each[1] === "x1") {
          var width = parseFloat(each[0].getAttribute("width") || 0) / 100;
          each[0].style.visibility = place > 1.0001 || place + width < -0.0001 ? "hidden" : "";
        }
      });
      drawTicks();
    }
    var group = svg.querySelector(".ticks"), whole = group && group.innerHTML;
    function drawTicks() {
      if (!group || !svg.dataset.linear) { return; }
      var low = Number(svg.dataset.low), high = Number(svg.dataset.high);
      var a = low + from * (high - low), b = low + to * (high - low);
      if (from === 0 && to === 1) { group.innerHTML = whole; return; }
      var sample = group.querySelector("text"), y = sample.getAttribute("y"), step = Math.pow(10, Math.floor(Math.log10((b - a) / 4)));
      step *= [1, 2, 5, 10].find(function (factor) { return factor * step >= (b - a) / 5; });
      var digits = Math.max(0, -Math.floor(Math.log10(step)));
      group.textContent = "";
      for (var value = Math.ceil(a / step) * step; value <= b; value += step) {
        var tick = document.createElementNS(svg.namespaceURI, "text");
        tick.setAttribute("x", 100 * (value - a) / (b - a) + "%");
        tick.setAttribute("y", y);
        tick.setAttribute("class", "c-dim");
        tick.setAttribute("text-anchor", "middle");
        tick.textContent = value.toFixed(Math.min(digits, 9));
        group.appendChild(tick);
      }
    }
    var tools = document.createElement("div");
    tools.className = "tools";
    [["+", "zoom in", 0.25], ["\u2212", "zoom out", -0.5], ["\u2190", "earlier", 0], ["\u2192", "later", 0], ["all", "all of the picture", 0]]
      .forEach(function (each, number) {
        var button = document.createElement("button");
        button.type = "button";
        button.textContent = each[0];
        button.setAttribute("aria-label", each[1] + ": " + figure.querySelector("figcaption :first-child").textContent);
        button.addEventListener("click", function () {
          var width = to - from, step = number === 2 ? -width / 2 : width / 2;
          if (number < 2) { zoom(from + width * each[2], to - width * each[2]); return; }
          if (number === 4) { zoom(0, 1); return; }
          step = Math.max(-from, Math.min(1 - to, step));
          zoom(from + step, to + step);
        });
        tools.appendChild(button);
      });
    figure.querySelector("figcaption").after(tools);

    var series = Array.from(svg.querySelectorAll("path[data-y]")).map(function (path) {
      return {name: path.dataset.name, x: path.dataset.x.split(" ").map(Number), y: path.dataset.y.split(" ").map(Number)};
    });
    var tip = document.createElement("div"), cross = null, start = null, band = null;
    tip.className = "tip";
    tip.hidden = true;
    figure.appendChild(tip);
    function place(event) {
      var box = svg.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    }
    function line(name) {
      var made = document.createElementNS(svg.namespaceURI, name);
      made.setAttribute("y", 0);
      made.setAttribute("height", svg.getAttribute("height"));
      svg.appendChild(made);
      return made;
    }
    svg.addEventListener("pointerdown", function (event) {
      if (event.pointerType === "mouse" && event.button === 0 && !event.target.closest("[data-link]")) { start = place(event); }
    });
    svg.addEventListener("pointermove", function (event) {
      var at = place(event), box = figure.getBoundingClientRect();
      cross = cross || line("rect");
      cross.setAttribute("class", "cross fixed");
      cross.setAttribute("width", 0.5);
      cross.setAttribute("x", 100 * at + "%");
      if (start !== null) {
        band = band || line("rect");
        band.setAttribute("class", "picked fixed");
        band.setAttribute("x", 100 * Math.min(start, at) + "%");
        band.setAttribute("width", 100 * Math.abs(at - start) + "%");
      }
      var where = from + at * (to - from), said = [];
      series.forEach(function (each) {
        for (var n = each.x.length - 1; n >= 0; n -= 1) {
          if (each.x[n] <= where) { said.push(each.name + ": " + each.y[n].toLocaleString("en")); return; }
        }
      });
      tip.hidden = !said.length;
      tip.textContent = said.join("\n");
      tip.style.left = Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 4) + "px";
      tip.style.top = event.clientY - box.top + 14 + "px";
    });
    function end(event) {
      var first = start, last = place(event);
      start = null;
      if (band) { band.remove(); band = null; }
      if (event.type === "pointerup" && first !== null && Math.abs(last - first) > 0.01) {
        zoom(from + Math.min(first, last) * (to - from), from + Math.max(first, last) * (to - from));
      }
      if (event.type === "pointerleave") {
        tip.hidden = true;
        if (cross) { cross.remove(); cross = null; }
      }
    }
    svg.addEventListener("pointerup", end);
    svg.addEventListener("pointerleave", end);
    svg.addEventListener("click", function (event) {
      var mark = event.target.closest("[data-link]");
      if (mark) { location.hash = mark.dataset.link; }
    });
    svg.addEventListener("dblclick", function () { zoom(0, 1); });
  });
})();
